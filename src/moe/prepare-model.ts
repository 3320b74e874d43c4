import { Fault } from '../fault.ts';
import { allGraphs } from '../onnx/graph.ts';
import { inlineFunctions } from '../onnx/inline-functions.ts';
import { liftConstants } from '../onnx/lift-constants.ts';
import type { FunctionProto } from '../onnx/messages.ts';
import type { Model } from '../onnx/model.ts';
import { openModel } from '../onnx/open-model.ts';
import { raiseOpset } from '../onnx/raise-opset.ts';
import { inferShapes } from './graph/shapes.ts';
import type { Location } from './locate.ts';
import { locate } from './locate.ts';
import { readModelRecord } from './model-record.ts';
import type { MoeLayer } from './moe-layer.ts';
import { scaleRouting } from './scale-routing.ts';
import { spellOutRouting } from './spell-out-routing.ts';

/** A model whose MoE layers can be written anew. */
export interface PreparedModel extends Pick<Location, 'layers' | 'leftOut'> {
  model: Model;
}

/** The operator set in which layers are written: the first with INT4. */
export const canonicalOpset = 21;

/**
 * Takes a model (its file, or one just opened, which is changed), sees through its local functions, locates its MoE
 * layers and raises its operator set so that they can be rewritten.
 * @throws Fault MOE_NONE, MOE_NOT_QUANTIZABLE, and those of `openModel`
 */
export function prepareModel(source: string | Model, opset = canonicalOpset): PreparedModel {
  const { model, layers, leftOut } = locateInFile(source);
  const { path, graph } = model;
  requireDefinedValues(model);
  // Defaults of inputs: as inputs they would outlive what reads them.
  graph.inputs = graph.inputs.filter(({ tensor }) => !tensor);
  if (layers.length === 0) {
    throw new Fault({
      code: 'MOE_NONE',
      what: 'there is no Mixture-of-Experts layer in this model',
      where: path,
      ...noLayers(model),
    });
  }
  const refused = layers.find((layer) => !layer.quantizable || !layer.boundary);
  if (refused) {
    throw new Fault({
      code: 'MOE_NOT_QUANTIZABLE',
      what: `layer ${refused.id} cannot be quantized`,
      where: path,
      why: refused.reason,
      remedy: 'run "moeq inspect --explain"; export the model in another form',
    });
  }
  noteFlatOutputs(model, layers);
  raiseOpset(model, opset);
  for (const layer of layers) {
    spellOutRouting(model, layer);
    scaleRouting(model, layer);
  }
  return { model, layers, leftOut };
}

/** ONNX Runtime would refuse what is written of such a graph, as it does the graph itself. */
function requireDefinedValues({ path, graph }: Model): void {
  const missing = [...allGraphs(graph)].flatMap(({ undefinedValues }) => undefinedValues);
  const read = missing.find(({ uses }) => uses.length > 0);
  if (!read) return;
  throw new Fault({
    code: 'ONNX_UNDEFINED',
    what: `${read.uses[0].node.name || read.uses[0].node.opType} reads ${read.name}, which nothing defines`,
    where: path,
    remedy: 'check the model with onnx.checker and export it again',
  });
}

/** A file of our own holds no layers that could be located: it says so itself. */
function noLayers(model: Model): { why?: string; remedy: string } {
  return readModelRecord(model)
    ? { why: 'moeq quantized it already', remedy: 'give the model that it was made from' }
    : { remedy: 'run "moeq inspect --explain" to see what came closest' };
}

/** Exporters often flatten the tokens inside a layer and declare no shapes: the readers of the output expect its rank. */
function noteFlatOutputs({ graph }: Model, layers: readonly MoeLayer[]): void {
  const shapes = inferShapes(graph, graph.sortedNodes());
  for (const { boundary } of layers) {
    const shape = boundary && shapes.shapeOf(boundary.output);
    if (shape) boundary.isFlat = shape.length === 2;
  }
}

/**
 * Takes a model (its file, or one just opened, which is changed), replaces calls of local functions by their bodies, and
 * locates its MoE layers.
 */
export function locateInFile(source: string | Model): Location & { model: Model } {
  const model = typeof source === 'string' ? openModel(source) : source;
  inlineFunctions(model, isContribFunction);
  // Those that the bodies brought.
  liftConstants(model.graph);
  return { model, ...locate(model) };
}

/** Fused operators of ONNX Runtime may ship a body; the operator says more than the body does. */
function isContribFunction({ domain = '' }: FunctionProto): boolean {
  return domain.startsWith('com.microsoft');
}
