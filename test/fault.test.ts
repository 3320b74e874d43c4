import { expect, test } from 'vitest';
import { Fault, isFault } from '../src/fault.ts';

const record = {
  code: 'SOME_CODE',
  what: 'something happened',
  where: 'file m.onnx',
  why: 'a reason',
  remedy: 'do this',
};

test('says what, where, why and what to do', () => {
  const text = new Fault(record).message;
  for (const part of Object.values(record)) expect(text).toContain(part);
  expect(new Fault({ code: 'C', what: 'w' }).message).toBe('C: w');
});

test('survives the way through a structured clone', () => {
  const cloned = structuredClone(new Fault(record).toRecord());
  expect(cloned).toEqual(record);
  expect(Fault.fromRecord(cloned).message).toBe(new Fault(record).message);
  expect(new Fault({ code: 'C', what: 'w' }).toRecord()).toEqual({ code: 'C', what: 'w' });
});

test('gives what was thrown as its reason, whatever that is', () => {
  const { why: _why, ...rest } = record;
  const cause = new Error('inner');
  expect(Fault.because(cause, rest)).toMatchObject({ ...rest, why: 'inner', cause });
  expect(Fault.because('outer', rest)).toMatchObject({ ...rest, why: 'outer', cause: 'outer' });
});

test('is told from other errors, and keeps its cause', () => {
  const cause = new Error('inner');
  const fault = new Fault(record, { cause });
  expect(fault.cause).toBe(cause);
  expect([isFault(fault), isFault(cause), isFault(null), isFault('Fault'), isFault(undefined)]).toEqual([
    true,
    false,
    false,
    false,
    false,
  ]);
});
