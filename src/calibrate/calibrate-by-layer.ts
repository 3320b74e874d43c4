import type { Batch } from '../data/batches.ts';
import { emitFloat } from '../emit/float-experts.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import { lookAt } from '../run/look-at.ts';
import type { StageWalk } from '../run/stage-walk.ts';
import { walkLayers } from '../run/stage-walk.ts';
import type { CalibrateOptions } from './calibrate.ts';
import { expertIds, requireBatches } from './calibrate.ts';
import type { GramFile } from './gram-file.ts';
import { openGramFile } from './gram-file.ts';
import type { LayerStats } from './layer-stats.ts';
import { statsProbe } from './stats-probe.ts';

/** Statistics of a model's layers, asked for in their order; some may be left out. */
export interface StatsSource {
  /**
   * Of the layer at `index`; `written` holds the layers before it as they are to be in the end. XᵀX can be read until the
   * next layer is asked for.
   */
  statsOf(index: number, written: Model): Promise<LayerStats>;
  /** Removes what waits on disk. */
  close(): void;
}

export interface ByLayerOptions extends Omit<CalibrateOptions, 'byLayer'> {
  /** Told how many layers are done. */
  onStep?: (done: number, total: number) => void;
  /** Feed each layer what the layers before it make once they are written, as GPTQ does, and not what they made before. */
  sequential?: boolean;
  /**
   * Bytes of XᵀX that one run makes at most, if an expert alone does not make more; where a layer has more, it waits on
   * disk.
   */
  gramBytes?: number;
}

/**
 * The statistics of {@link calibrate}, one layer at a time: only one layer, and its XᵀX, has to fit in memory. Each stage
 * runs once; `sequential` runs it once more when its layer is written.
 * @throws Fault CALIBRATION_EMPTY; statsOf throws those of {@link StageWalk}
 */
export function calibrateByLayer(
  open: () => PreparedModel,
  batches: readonly Batch[],
  options: ByLayerOptions = {},
): StatsSource {
  const {
    gram = false,
    affinity = false,
    sequential = false,
    gramBytes = 2 ** 28,
    onStep,
    ...session
  } = options;
  requireBatches(batches);
  const walked = open();
  const course = walkInOrder(() => walkLayers(walked, batches, session), open, sequential);
  /** XᵀX of the last layer that was asked for; null where it is in memory. */
  let grams: GramFile | null = null;

  return {
    async statsOf(index, written) {
      const walk = await course.reach(index, written);
      const groups = expertGroups(walked.layers[index], gram ? gramBytes : Infinity);
      grams?.close();
      grams = groups.length > 1 ? openGramFile() : null;
      const parts: LayerStats[] = [];
      for (const [at, experts] of groups.entries()) {
        const { model, layers } = open();
        const passOn = !sequential && at === groups.length - 1;
        const probe = await lookAt({ walk, model, batches }, index, { passOn }, (valid) =>
          statsProbe(model, layers[index], { gram, affinity, valid, experts }),
        );
        if (passOn) course.passed(index);
        const stats = probe.stats();
        parts.push(grams ? { ...stats, experts: grams.keep(stats.experts) } : stats);
      }
      onStep?.(index + 1, walked.layers.length);
      return { ...parts[0], experts: parts.flatMap(({ experts }) => experts) };
    },
    close() {
      course.close();
      grams?.close();
    },
  };
}

/** A walk whose stages are run in their order, each after those before it have handed on what it reads. */
interface Course {
  /** Brings the walk to a stage that is to be run. */
  reach(index: number, written: Model): Promise<StageWalk>;
  /** To be told that a stage has handed on what later ones read. */
  passed(index: number): void;
  close(): void;
}

/** With `sequential` stages hand on what they make as they are written, else what they made before. */
function walkInOrder(begin: () => StageWalk, open: () => PreparedModel, sequential: boolean): Course {
  let walk: StageWalk | null = null;
  let next = 0;
  const inFloat = (index: number): Model => {
    const { model, layers } = open();
    emitFloat(model, layers[index], true);
    return model;
  };
  return {
    async reach(index, written) {
      walk ??= begin();
      for (; next < index; next++)
        await walk.run(sequential ? written : inFloat(next), next, { probes: [], valid: null, passOn: true });
      return walk;
    },
    passed(index) {
      next = Math.max(next, index + 1);
    },
    close() {
      walk?.close();
    },
  };
}

/** Ids of the experts whose XᵀX is made in one run. */
function expertGroups(layer: MoeLayer, gramBytes: number): Set<string>[] {
  const ids = expertIds(layer);
  const size = Math.min(ids.length, Math.max(1, Math.floor(gramBytes / expertGramBytes(layer))));
  const count = Math.ceil(ids.length / size);
  return Array.from({ length: count }, (_, at) => new Set(ids.slice(at * size, (at + 1) * size)));
}

/** Of XᵀX of both inputs of one expert. */
export function expertGramBytes({ hidden, intermediate }: MoeLayer): number {
  return 4 * (hidden ** 2 + intermediate ** 2);
}
