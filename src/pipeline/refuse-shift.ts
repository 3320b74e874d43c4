import type { QuantizeConfig } from '../config/schema.ts';
import { Fault } from '../fault.ts';

/** @throws Fault SCHEME_TARGET where a shift is asked for and the target has no place for one */
export function refuseShift({ smoothing, target }: QuantizeConfig): void {
  if (target !== 'qmoe' || smoothing.shift !== true) return;
  throw new Fault({
    code: 'SCHEME_TARGET',
    what: 'target qmoe cannot be written with a shift',
    why: 'the fused operator gives every expert the same input',
    remedy: 'use --set smoothing.shift=false, or another target',
  });
}
