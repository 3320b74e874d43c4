import type { DataRecord } from '../../data/record.ts';
import { Fault } from '../../fault.ts';

/** Every so many records one is held out, … */
const heldOutEvery = 4;
/** … until there are so many: they tell two models apart. */
const heldOutMost = 128;

/** How many of so many records are held out. */
export function recordsHeldOut(records: number): number {
  return Math.min(heldOutMost, Math.floor(records / heldOutEvery));
}

/** @throws Fault REALIGN_RECORDS */
export function holdOut(records: readonly DataRecord[]): { fitted: DataRecord[]; heldOut: DataRecord[] } {
  const isHeldOut = (i: number): boolean =>
    i % heldOutEvery === heldOutEvery - 1 && i < heldOutEvery * heldOutMost;
  if (records.length < heldOutEvery) throw tooFewRecords(records.length);
  return {
    fitted: records.filter((_, i) => !isHeldOut(i)),
    heldOut: records.filter((_, i) => isHeldOut(i)),
  };
}

function tooFewRecords(count: number): Fault {
  return new Fault({
    code: 'REALIGN_RECORDS',
    what: `router.realign needs ${heldOutEvery} calibration records or more, not ${count}`,
    why: 'some are held out to judge the correction',
    remedy: 'give more records, or leave out router.realign',
  });
}
