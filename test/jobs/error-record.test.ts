import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Fault } from '../../src/fault.ts';
import { errorRecord } from '../../src/jobs/error-record.ts';

/** What the system says when a disk is full. */
function diskFullError(): unknown {
  try {
    writeFileSync('/dev/full', 'x');
  } catch (error) {
    return error;
  }
  throw new Error('/dev/full took a byte');
}

test('a full disk is told apart, also behind a Fault of the writer', () => {
  const cause = diskFullError();
  const wrapped = new Fault({ code: 'OUTPUT_FAILED', what: 'the output cannot be written' }, { cause });
  for (const error of [cause, wrapped]) {
    const record = errorRecord(error, 'model.onnx', 'out');
    expect(record).toMatchObject({ code: 'DISK_FULL', where: 'out' });
    expect(record.remedy).toContain('--resume');
  }
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
