import { Fault } from '../fault.ts';

/** What calibration saw in a layer or an expert, `where`, are no numbers to quantize by. */
export function activationsNotFinite(where: string): Fault {
  return new Fault({
    code: 'ACTIVATIONS_NOT_FINITE',
    what: 'activations are infinite or no numbers',
    where,
    remedy: 'look at the model and the records: "moeq verify" tells where they come from',
  });
}
