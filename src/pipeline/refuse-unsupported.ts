import type { QuantizeConfig } from '../config/schema.ts';
import { Fault } from '../fault.ts';

/**
 * Settings that are part of the config's contract and that this version cannot honour are refused, never ignored.
 * @throws Fault CONFIG_UNSUPPORTED naming the first of them
 */
export function refuseUnsupported({ calibration }: QuantizeConfig): void {
  const asked: [string, boolean][] = [['calibration.sequential', calibration.sequential]];
  const unsupported = asked.find(([, isAsked]) => isAsked);
  if (!unsupported) return;
  throw new Fault({
    code: 'CONFIG_UNSUPPORTED',
    what: `this version cannot do what ${unsupported[0]} asks for`,
    remedy: 'leave the key out',
  });
}
