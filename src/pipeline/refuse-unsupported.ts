import type { QuantizeConfig } from '../config/schema.ts';
import { Fault } from '../fault.ts';

/**
 * Settings that are part of the config's contract and that this version cannot honour are refused, never ignored.
 * @throws Fault CONFIG_UNSUPPORTED naming the first of them; SCHEME_TARGET where a target has no place for one
 */
export function refuseUnsupported({ calibration, smoothing, target }: QuantizeConfig): void {
  if (target === 'qmoe' && smoothing.shift === true) throw cannotShift();
  const asked: [string, boolean][] = [['calibration.sequential', calibration.sequential]];
  const unsupported = asked.find(([, isAsked]) => isAsked);
  if (!unsupported) return;
  throw new Fault({
    code: 'CONFIG_UNSUPPORTED',
    what: `this version cannot do what ${unsupported[0]} asks for`,
    remedy: 'leave the key out',
  });
}

function cannotShift(): Fault {
  return new Fault({
    code: 'SCHEME_TARGET',
    what: 'target qmoe cannot be written with a shift',
    why: 'the fused operator gives every expert the same input',
    remedy: 'use --set smoothing.shift=false, or another target',
  });
}
