import { measureClips } from '../calibrate/measure-clips.ts';
import { makeBatches } from '../data/batches.ts';
import { declaredInputs } from '../data/declared-inputs.ts';
import type { DataRecord } from '../data/record.ts';
import { emitRouter } from '../emit/emit-router.ts';
import { routerLinear } from '../emit/router-linear.ts';
import type { LayerProbes } from '../emit/parity-probes.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Model } from '../onnx/model.ts';
import { clipCandidates, clipRatios } from '../quantize/clip-candidates.ts';
import { dequantize } from '../quantize/dequantize.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { readMatrix, readVector } from '../tensor/view.ts';

/** How one router came to 8 bits; the figures are means over tokens on the states of the quantized model. */
export interface RouterClip {
  layer: string;
  /** Share of each row's largest weight that becomes the largest code. */
  ratio: number;
  /** Squared logit error against the float router, summed over experts. */
  squaredError: number;
  /** Divergence of the choice, in nats; see `ClipTaps`. */
  divergence: number;
}

/**
 * EAQuant's router in 8 bits (section 3.2): weights with one scale per expert, activations dynamic per token. The
 * clipping ratio of a layer minimises squared logit error plus divergence on the top experts, both per token, measured
 * with the activations in 8 bits on the states that the quantized model really makes, all layers in one pass.
 * @throws Fault ROUTER_UNSUPPORTED, and those of running models
 */
export async function chooseClips(
  model: Model,
  layers: readonly MoeLayer[],
  records: readonly DataRecord[],
  session: SessionOptions,
): Promise<RouterClip[]> {
  const trials = layers.map((layer) => {
    const { input, view } = routerLinear(layer);
    const { linear, experts, topK } = layer.router;
    const weight = readMatrix(view);
    return {
      input,
      weight,
      bias: linear!.bias && readVector(linear!.bias.view),
      candidates: clipCandidates(weight).map(dequantize),
      top: topK ?? experts,
    };
  });
  const batches = [...makeBatches(records, declaredInputs(model))];
  const sums = await measureClips(model, trials, batches, session);
  return sums.map(({ tokens, squares, divergence }, i) => {
    const costs = clipRatios.map((_, c) => squares[c] + divergence[c]);
    const best = costs.indexOf(Math.min(...costs));
    return {
      layer: layers[i].id,
      ratio: clipRatios[best],
      squaredError: squares[best] / tokens,
      divergence: divergence[best] / tokens,
    };
  });
}

/** Writes every router in 8 bits, clipped as was chosen, and notes what it must compute. */
export function quantizeRouters(
  model: Model,
  probes: readonly LayerProbes[],
  clips: readonly RouterClip[],
): void {
  probes.forEach((layerProbes, i) => {
    const { layer, resolved } = layerProbes;
    const { view } = routerLinear(layer);
    const weight = clipCandidates(readMatrix(view))[clipRatios.indexOf(clips[i].ratio)];
    layerProbes.router = emitRouter(model, layer, weight, resolved.target === 'qdq');
  });
  model.graph.removeDeadCode();
}
