import type { QuantizeConfig } from '../config/schema.ts';
import { openModel } from '../onnx/open-model.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { threadsOf } from '../runtime/threads-of.ts';
import type { VerifyOptions } from '../verify/verify.ts';
import { isByLayer } from './model-size.ts';

/** How models are run under a config. */
export function sessionOptions({ threads }: Pick<QuantizeConfig, 'threads'>): SessionOptions {
  return { threads: threadsOf(threads) };
}

/** How a model is verified; `reference` is the path of the model it was made from. */
export function verifyOptions(
  reference: string,
  { threads, verify: { attribution, byLayer } }: Pick<QuantizeConfig, 'threads' | 'verify'>,
): VerifyOptions {
  return { ...sessionOptions({ threads }), attribution, byLayer: isByLayer(openModel(reference), byLayer) };
}
