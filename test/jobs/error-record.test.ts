import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Fault } from '../../src/fault.ts';
import { errorRecord } from '../../src/jobs/error-record.ts';

/** What the system says when this is written to. */
function errorOfWriting(path: string): unknown {
  try {
    writeFileSync(path, 'x');
  } catch (error) {
    return error;
  }
  throw new Error(`${path} took a byte`);
}

test('a full disk is told apart, also behind a Fault of the writer', () => {
  const cause = errorOfWriting('/dev/full');
  const wrapped = new Fault({ code: 'OUTPUT_FAILED', what: 'the output cannot be written' }, { cause });
  for (const error of [cause, wrapped]) {
    const record = errorRecord(error, 'model.onnx', 'out');
    expect(record).toMatchObject({ code: 'DISK_FULL', where: 'out' });
    expect(record.remedy).toContain('--resume');
  }
});

test('what the system would not do with a file tells the file, and is no defect', () => {
  const path = join(import.meta.dirname, 'none/at all');
  const record = errorRecord(errorOfWriting(path), 'L0', 'out');
  expect(record).toMatchObject({ code: 'FILE_FAILED', where: path });
});

test('a Fault keeps all it says', () => {
  const record = { code: 'X', what: 'w', where: 'here', why: 'so', remedy: 'do' };
  expect(errorRecord(new Fault(record), 'elsewhere', 'out')).toEqual(record);
});

test('anything else is a defect, with its stack and place', () => {
  const record = errorRecord(new TypeError('no such thing'), 'L0.E3', 'out');
  expect(record).toMatchObject({ code: 'INTERNAL', where: 'L0.E3' });
  expect(record.why).toContain('TypeError: no such thing');
  expect(record.why).toContain('error-record.test.ts');
});
