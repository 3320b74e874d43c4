import { Fault } from '../fault.ts';
import type { Model } from '../onnx/model.ts';
import { ffnExperts } from './ffn-experts.ts';
import type { MoeLayer } from './moe-layer.ts';
import type { Role } from './roles.ts';
import type { RoutingForm } from './spell-out-routing.ts';
import { explicitRouting, routingForm } from './spell-out-routing.ts';

/** What a quantized model says about itself, kept under the metadata key `moeq`. */
export interface ModelRecord {
  version: string;
  /** The settings that made the model. */
  recipe: Record<string, unknown>;
  execution: { target: string; weights: string; activations: string; executed: boolean; provider: string };
  layers: LayerRecord[];
  /** Linears beside the routed experts that were to be quantized but could not; absent when none were to be. */
  refused?: RefusedLinear[];
  /** Names, in the source, of constants whose use does not tell what they are for; absent in files of early versions. */
  roles?: { router: string[]; shared: string[] };
}

/** A linear that was left as it is, and why. */
export interface RefusedLinear {
  /** Name of its weight in the source. */
  tensor: string;
  role: Role;
  reason: string;
}

/** Where to find a layer's parts in the quantized graph, as value names. */
export interface LayerRecord {
  id: string;
  /** The value behind which the layer's own inputs begin: the residual stream, or the layer's input without a norm. */
  entry: string;
  logits: string;
  routing: {
    indices: string | null;
    weights: string;
    /** Absent in files of early versions, where they are those of the reference. */
    form?: RoutingForm;
    /** Experts per token, of the form `topk`. */
    k?: number | null;
  };
  /** Ids of the experts that are written, in the order of their pairs. */
  experts: string[];
  /** Calibration tokens per expert; null when nothing was calibrated. */
  calibrationTokens: number[] | null;
  /** How the weights of each expert were rounded, `gptq` or `clip`, say; absent in files of early versions. */
  methods?: string[];
  /** Channels per block of the rotations in front of gate and up and of down, null for none; absent where neither is. */
  rotation?: { input: number | null; hidden: number | null };
  /** Present where calibration tokens counted as much as their routing weight. */
  affinity?: true;
}

const key = 'moeq';

/** Describes a layer of a graph by its value names, which must be final. */
export function layerRecord(layer: MoeLayer, calibrationTokens: number[] | null): LayerRecord {
  const routing = explicitRouting(layer);
  return {
    id: layer.id,
    entry: entryOf(layer).name,
    logits: layer.router.logits.name,
    routing: {
      indices: routing.kind === 'topk' ? routing.indices.name : null,
      weights: routing.weights.name,
      form: routingForm(routing),
      k: routing.kind === 'topk' ? routing.k : null,
    },
    experts: ffnExperts(layer).map(({ id }) => id),
    calibrationTokens,
  };
}

/** The value at which a layer can be fed: before its norm, so that folded scales stay inside. */
export function entryOf({ norm, boundary }: MoeLayer): NonNullable<MoeLayer['boundary']>['input'] {
  return norm?.input ?? boundary!.input;
}

export function writeModelRecord(model: Model, record: ModelRecord): void {
  model.metadata = [
    ...model.metadata.filter((entry) => entry.key !== key),
    { key, value: JSON.stringify(record) },
  ];
}

/** The record of a model that moeq wrote; null for any other model. */
export function readModelRecord(model: Model): ModelRecord | null {
  const entry = model.metadata.find((candidate) => candidate.key === key);
  if (!entry) return null;
  try {
    return JSON.parse(entry.value) as ModelRecord;
  } catch (cause) {
    throw new Fault(
      { code: 'RECORD_INVALID', what: 'the moeq metadata of the model is damaged', where: model.path },
      { cause },
    );
  }
}
