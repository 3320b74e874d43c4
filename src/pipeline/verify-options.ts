import type { QuantizeConfig } from '../config/schema.ts';
import { liftConstants } from '../onnx/lift-constants.ts';
import { openModel } from '../onnx/open-model.ts';
import type { VerifyOptions } from '../verify/verify.ts';
import { isApart } from './model-size.ts';
import { sessionOptions } from './session-options.ts';

/** How a model is verified against the one at `reference`. */
export function verifyOptions(
  reference: string,
  { threads, verify: { attribution, byLayer } }: Pick<QuantizeConfig, 'threads' | 'verify'>,
): VerifyOptions {
  const model = openModel(reference);
  liftConstants(model.graph);
  return { ...sessionOptions({ threads }), attribution, byLayer: isApart(model, byLayer) };
}
