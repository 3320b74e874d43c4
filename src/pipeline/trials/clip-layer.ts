import { activationProbe } from '../../calibrate/activation-probe.ts';
import type { StatsSource } from '../../calibrate/calibrate-by-layer.ts';
import { noClips } from '../../emit/forms/activation-clips.ts';
import type { ResolvedTarget } from '../../emit/resolve-target.ts';
import { prepareModel } from '../../moe/prepare-model.ts';
import type { Model } from '../../onnx/model.ts';
import type { MadeLayer } from '../layer/write-layer.ts';
import { writeLayer } from '../layer/write-layer.ts';
import type { ClippedLayer } from './clips.ts';
import { bestClips, triedGrids } from './clips.ts';

/**
 * Settles `activations.clip: auto` for a layer before it is written, in a model that is run layer by layer: on what it
 * quantizes in a copy of the model that is otherwise as it was.
 */
export async function clipLayer(
  index: number,
  made: MadeLayer,
  { path, resolved, written }: { path: string; resolved: ResolvedTarget; written: Model },
  look: NonNullable<StatsSource['look']>,
): Promise<ClippedLayer> {
  const { model, layers } = prepareModel(path, resolved.opset);
  const settings = { resolved, clips: noClips, fewRowsFrom: Infinity };
  const { rows } = writeLayer(model, layers[index], made, settings);
  const probe = await look(index, written, {
    model,
    attach: (valid) => activationProbe(model.graph, rows!, triedGrids(resolved), valid),
  });
  return bestClips(layers[index].id, probe.errors());
}
