import type { OriginalLogits } from '../../calibrate/gap-probe.ts';
import { gapProbe } from '../../calibrate/gap-probe.ts';
import type { Batch } from '../../data/batches.ts';
import { makeBatches } from '../../data/batches.ts';
import { declaredInputs } from '../../data/model-input.ts';
import type { DataRecord } from '../../data/record.ts';
import { emitFloat } from '../../emit/float-experts.ts';
import { changeRouter } from '../../emit/linears/change-router.ts';
import { routerLinear } from '../../emit/linears/router-linear.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import type { PreparedModel } from '../../moe/prepare-model.ts';
import { prepareModel } from '../../moe/prepare-model.ts';
import type { Model } from '../../onnx/model.ts';
import { opsetOf } from '../../onnx/model.ts';
import type { Value } from '../../onnx/value.ts';
import { lookAt } from '../../run/look-at.ts';
import type { Probe } from '../../run/probe.ts';
import type { StageWalk } from '../../run/stage-walk.ts';
import { walkLayers } from '../../run/stage-walk.ts';
import type { SessionOptions } from '../../runtime/session.ts';
import type { Originals } from './decision-probes.ts';
import { decisionProbe, originalProbe } from './decision-probes.ts';
import { holdOut } from './hold-out.ts';
import type { RouterRealignment, RouterRuns } from './realign-router.ts';
import { realignRouter } from './realign-router.ts';

/** A quantized model and where its layers are. */
export interface Routed {
  model: Model;
  layers: readonly MoeLayer[];
}

/**
 * Realignment of the routers after quantization: each router's weight is corrected in closed form so that, fed the
 * quantized model's own hidden states, its logits come near the original ones, above all where the choice is a close one.
 * Both models are walked side by side, one layer at a time; a router is fitted, and judged on records that were held out,
 * on what the layers before it send with their own routers corrected. The model is left as it is; see
 * {@link applyRealignment}.
 * @throws Fault REALIGN_RECORDS, ROUTER_UNSUPPORTED, and those of `StageWalk`
 */
export async function realignRouters(
  path: string,
  quantized: Routed,
  records: readonly DataRecord[],
  session: SessionOptions,
): Promise<RouterRealignment[]> {
  const { model, layers } = quantized;
  const open = (): PreparedModel => prepareModel(path, opsetOf(model));
  const prepared = open();
  const batches = batchesOf(prepared, records);
  const original = walkLayers(prepared, batches.all, session);
  const changed = walkLayers(quantized, batches.all, session);
  const decisions: RouterRealignment[] = [];
  const undo: (() => void)[] = [];
  try {
    for (const [index, layer] of layers.entries()) {
      const originals = await passOriginal(original, open(), index, batches.all);
      const stage = stageOf(changed, quantized, index, originals, batches);
      const decision = await realignRouter(model, layer, stage);
      decisions.push(decision);
      if (decision.change) undo.push(changeRouter(model, layer, decision.change));
      await stage.pass();
    }
    return decisions;
  } finally {
    for (const takeBack of undo) takeBack();
    model.graph.removeDeadCode();
    original.close();
    changed.close();
  }
}

/** Records to fit on, then those held out, each as the first of `all` and the one behind the last. */
interface Batches {
  all: Batch[];
  fitted: readonly [from: number, to: number];
  heldOut: readonly [from: number, to: number];
}

function batchesOf({ model }: PreparedModel, records: readonly DataRecord[]): Batches {
  const parts = holdOut(records);
  const inputs = declaredInputs(model);
  const fitted = [...makeBatches(parts.fitted, inputs)];
  const all = [...fitted, ...makeBatches(parts.heldOut, inputs)];
  return { all, fitted: [0, fitted.length], heldOut: [fitted.length, all.length] };
}

/** Runs a layer as it was, for what its router decides and what later layers read. */
async function passOriginal(
  walk: StageWalk,
  { model, layers }: PreparedModel,
  index: number,
  batches: readonly Batch[],
): Promise<Originals> {
  const probe = await lookAt({ walk, model, batches }, index, { passOn: true }, () => {
    const original = originalProbe(model.graph, layers[index]);
    emitFloat(model, layers[index], true);
    return original;
  });
  return probe.seen;
}

/** One layer of the changed model, as its walk comes to it. */
interface Stage extends RouterRuns {
  /** Leaves it behind, its router as it is then. */
  pass: () => Promise<void>;
}

function stageOf(
  walk: StageWalk,
  { model, layers }: Routed,
  index: number,
  originals: Originals,
  { all, fitted, heldOut }: Batches,
): Stage {
  const { graph } = model;
  const layer = layers[index];
  const originalOf = (batch: Batch): OriginalLogits => originals.get(batch)!;

  const look = <P extends Probe>(only: Batches['fitted'], attach: (valid: Value | null) => P): Promise<P> =>
    lookAt({ walk, model, batches: all }, index, { only, passOn: false }, attach);

  return {
    async gap() {
      const router = { linear: routerLinear(layer), topK: layer.router.topK };
      return (await look(fitted, (valid) => gapProbe(graph, router, originalOf, valid))).sums;
    },
    async judge() {
      return (await look(heldOut, () => decisionProbe(graph, layer, originals))).metrics();
    },
    pass: () => walk.run(model, index, { probes: [], valid: null, passOn: true }),
  };
}

/** Writes the changes that were kept into the routers of a model. */
export function applyRealignment({ model, layers }: Routed, decisions: readonly RouterRealignment[]): void {
  layers.forEach((layer, i) => {
    const { change } = decisions[i];
    if (change) changeRouter(model, layer, change);
  });
  model.graph.removeDeadCode();
}
