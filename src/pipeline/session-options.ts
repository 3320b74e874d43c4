import type { QuantizeConfig } from '../config/schema.ts';
import type { SessionOptions } from '../runtime/session.ts';

/** How models are run under a config. */
export function sessionOptions({ threads }: Pick<QuantizeConfig, 'threads'>): SessionOptions {
  return threads === 'auto' ? {} : { threads };
}
