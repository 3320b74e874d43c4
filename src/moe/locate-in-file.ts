import { inlineFunctions } from '../onnx/inline-functions.ts';
import { liftConstants } from '../onnx/lift-constants.ts';
import type { FunctionProto } from '../onnx/messages.ts';
import type { Model } from '../onnx/model.ts';
import { openModel } from '../onnx/open-model.ts';
import type { Location } from './locate.ts';
import { locate } from './locate.ts';

/**
 * Takes a model (its file, or one just opened, which is changed), replaces calls of local functions by their bodies, and
 * locates its MoE layers. Weights that stand in Constant nodes are initializers afterwards.
 */
export function locateInFile(source: string | Model): Location & { model: Model } {
  const model = typeof source === 'string' ? openModel(source) : source;
  inlineFunctions(model, isContribFunction);
  const location = locate(model);
  liftConstants(model.graph);
  return { model, ...location };
}

/** Fused operators of ONNX Runtime may ship a body; the operator says more than the body does. */
function isContribFunction({ domain = '' }: FunctionProto): boolean {
  return domain.startsWith('com.microsoft');
}
