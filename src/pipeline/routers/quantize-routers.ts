import { activationsNotFinite } from '../../calibrate/layer-stats.ts';
import type { RouterClipSums, RouterClipTrial } from '../../calibrate/router-clip-probe.ts';
import { routerClipProbe } from '../../calibrate/router-clip-probe.ts';
import { makeBatches } from '../../data/batches.ts';
import { declaredInputs } from '../../data/model-input.ts';
import type { DataRecord } from '../../data/record.ts';
import { emitRouter } from '../../emit/linears/emit-router.ts';
import { routerLinear } from '../../emit/linears/router-linear.ts';
import type { LayerReference } from '../../emit/parity-references.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import type { Model } from '../../onnx/model.ts';
import { clipRatios, quantizeRouter } from '../../quantize/quantize-router.ts';
import { dequantize } from '../../quantize/quantized-tensor.ts';
import { lookAt } from '../../run/look-at.ts';
import { walkLayers } from '../../run/stage-walk.ts';
import type { SessionOptions } from '../../runtime/session.ts';
import { readMatrix, readVector } from '../../tensor/view.ts';

/** How one router came to 8 bits; the figures are means over tokens on the states of the quantized model. */
export interface RouterClip {
  layer: string;
  /** Share of each row's largest weight that becomes the largest code. */
  ratio: number;
  /** Squared logit error against the float router, summed over experts. */
  squaredError: number;
  /** Divergence of the choice, in nats; see `RouterClipTaps`. */
  divergence: number;
}

/**
 * EAQuant's router in 8 bits (section 3.2): weights with one scale per expert, activations dynamic per token. The
 * clipping ratio of a layer minimises squared logit error plus divergence on the top experts, both per token, measured
 * with the activations in 8 bits on the states that the quantized model really makes, one layer at a time. The model is
 * left as it is.
 * @throws Fault ROUTER_UNSUPPORTED, ACTIVATIONS_NOT_FINITE, and those of `StageWalk`
 */
export async function chooseRouterClips(
  model: Model,
  layers: readonly MoeLayer[],
  records: readonly DataRecord[],
  session: SessionOptions,
): Promise<RouterClip[]> {
  const batches = [...makeBatches(records, declaredInputs(model))];
  const walk = walkLayers({ model, layers }, batches, session);
  const clips: RouterClip[] = [];
  try {
    for (const [index, layer] of layers.entries()) {
      const { sums } = await lookAt({ walk, model, batches }, index, { passOn: true }, (valid) =>
        routerClipProbe(model.graph, clipTrial(layer), valid),
      );
      clips.push(bestClip(layer.id, sums));
    }
    return clips;
  } finally {
    walk.close();
  }
}

function clipTrial(layer: MoeLayer): RouterClipTrial {
  const { input, view } = routerLinear(layer);
  const { linear, experts, topK } = layer.router;
  const weight = readMatrix(view);
  return {
    input,
    weight,
    bias: linear!.bias && readVector(linear!.bias.view),
    candidates: clipRatios.map((ratio) => dequantize(quantizeRouter(weight, ratio))),
    top: topK ?? experts,
  };
}

function bestClip(layer: string, { tokens, squares, divergence }: RouterClipSums): RouterClip {
  const costs = clipRatios.map((_, c) => squares[c] + divergence[c]);
  if (!costs.every(Number.isFinite)) throw activationsNotFinite(`router of layer ${layer}`);
  const best = costs.indexOf(Math.min(...costs));
  return {
    layer,
    ratio: clipRatios[best],
    squaredError: squares[best] / tokens,
    divergence: divergence[best] / tokens,
  };
}

/** Writes every router in 8 bits, clipped as was chosen, and notes what it must compute. */
export function quantizeRouters(
  model: Model,
  references: readonly LayerReference[],
  clips: readonly RouterClip[],
): void {
  references.forEach((reference, i) => {
    const { layer, resolved } = reference;
    const { view } = routerLinear(layer);
    const weight = quantizeRouter(readMatrix(view), clips[i].ratio);
    reference.router = emitRouter(model, layer, weight, resolved.target === 'qdq');
  });
  model.graph.removeDeadCode();
}
