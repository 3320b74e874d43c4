import { declaredInputs } from '../data/model-input.ts';
import { activationName } from '../moe/activation-name.ts';
import { expertWeights, ffnExperts } from '../moe/ffn-experts.ts';
import type { Location } from '../moe/locate.ts';
import type { ModelRecord } from '../moe/model-record.ts';
import { readModelRecord } from '../moe/model-record.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { locateInFile } from '../moe/prepare-model.ts';
import type { Role } from '../moe/roles.ts';
import { rolesOf } from '../moe/roles.ts';
import type { Model } from '../onnx/model.ts';
import { opsetOf, parametersOf, storedBytesOf } from '../onnx/model.ts';
import type { Inspection, LayerInspection } from '../report/inspection.ts';
import { constantsOf, sourceOf, writtenRole } from '../verify/census.ts';
import { leftOutNotes } from './left-out-notes.ts';

/** Says what a model holds; reads its graph and no weights. */
export function inspectModel(path: string, { explain }: { explain: boolean }): Inspection {
  const { model, ...location } = locateInFile(path);
  const { layers, rejected } = location;
  const record = readModelRecord(model);
  return {
    model: {
      path,
      irVersion: model.irVersion,
      opset: opsetOf(model),
      producer: [model.proto.producerName, model.proto.producerVersion].filter(Boolean).join(' '),
      parameters: parametersOf(model),
      bytes: storedBytesOf(model),
      inputs: declaredInputs(model),
    },
    layers: layers.map(inspectLayer),
    rejected: explain ? rejected : [],
    sizes: sizesOf(model, layers, record),
    notes: inspectionNotes(record, location),
  };
}

function inspectLayer(layer: MoeLayer): LayerInspection {
  const { id, form, router, routers, hidden, intermediate, activation, shared, norm } = layer;
  return {
    id,
    form,
    router: {
      weight: router.linear?.name ?? null,
      experts: router.experts,
      topK: router.topK,
      scoring: router.scoring,
      renormalized: router.renormalized,
      bias: router.bias,
    },
    routers,
    experts: {
      count: ffnExperts(layer).length,
      hidden,
      intermediate,
      gated: layer.gated,
      activation: activationName(activation),
      ...(activation.alpha !== 1 && { alpha: activation.alpha }),
      parameters: expertWeights(layer),
    },
    shared: shared && {
      intermediate: shared.intermediate,
      gated: shared.gate !== null,
      sigmoidGate: shared.sigmoidGate !== null,
    },
    norm: norm && { op: norm.op, foldable: norm.foldable, reason: norm.reason },
    complete: layer.complete,
    quantizable: layer.quantizable,
    reason: layer.reason,
    warnings: layer.warnings,
  };
}

function sizesOf(model: Model, layers: readonly MoeLayer[], record: ModelRecord | null): Inspection['sizes'] {
  const bytes = new Map<Role, number>();
  const roles = rolesOf(model, layers);
  const told = rolesTold(record);
  for (const { name, tensor } of constantsOf(model)) {
    const role = writtenRole(name) ?? told.get(sourceOf(name, told)) ?? roles.get(name) ?? 'other';
    bytes.set(role, (bytes.get(role) ?? 0) + tensor!.source.byteLength);
  }
  return [...bytes].map(([role, size]) => ({ role, bytes: size })).toSorted((a, b) => b.bytes - a.bytes);
}

/** What a file of our own, whose layers are not located again, says of its constants. */
function rolesTold(record: ModelRecord | null): Map<string, Role> {
  const { router = [], shared = [] } = record?.roles ?? {};
  return new Map([
    ...router.map((name) => [name, 'router'] as const),
    ...shared.map((name) => [name, 'shared'] as const),
  ]);
}

/**
 * What is to be said of a model as a whole: that moeq wrote it (its experts have a form of their own then, which is not
 * located again), that no layer was found, and whether something came close, or that weights of layers may be left out.
 */
function inspectionNotes(record: ModelRecord | null, location: Location): string[] {
  const { layers, rejected } = location;
  if (record) return [writtenNote(record)];
  if (layers.length > 0) return leftOutNotes(location);
  const near = rejected.length === 0 ? '' : `; what came closest (${rejected.length}): see --explain`;
  return [`No Mixture-of-Experts layer was found${near}.`];
}

function writtenNote({ version, recipe, execution, layers }: ModelRecord): string {
  const experts = layers.reduce((sum, layer) => sum + layer.experts.length, 0);
  const how = [recipe.scheme, execution.target].filter(Boolean).join(', ');
  const what = `${layers.length} layers, ${experts} experts`;
  return `This file was quantized by moeq ${version} (${how}: ${what}); its routers and experts are those of its source.`;
}
