import { expertWeights, ffnExperts } from '../moe/ffn-experts.ts';
import { locateInFile } from '../moe/locate-in-file.ts';
import { readModelRecord } from '../moe/model-record.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Role } from '../moe/role.ts';
import { rolesOf } from '../moe/roles.ts';
import type { Model } from '../onnx/model.ts';
import { opsetOf } from '../onnx/model.ts';
import type { Inspection, LayerInspection } from '../report/inspection.ts';
import { countOf } from '../tensor/dtype.ts';
import { writtenRole } from '../verify/census.ts';
import { inspectionNotes } from './inspection-notes.ts';

/** Says what a model holds; reads its graph and no weights. */
export function inspectModel(path: string, { explain }: { explain: boolean }): Inspection {
  const { model, layers, rejected } = locateInFile(path);
  const record = readModelRecord(model);
  const tensors = [...model.graph.constants].map((value) => value.tensor!);
  const external = tensors.filter(({ proto }) => proto.dataLocation === 1);
  return {
    model: {
      path,
      irVersion: model.irVersion,
      opset: opsetOf(model),
      producer: [model.proto.producerName, model.proto.producerVersion].filter(Boolean).join(' '),
      parameters: tensors.reduce((sum, { source }) => sum + countOf(source.shape), 0),
      bytes: model.byteLength + external.reduce((sum, { source }) => sum + source.byteLength, 0),
    },
    layers: layers.map(inspectLayer),
    rejected: explain ? rejected : [],
    sizes: sizesOf(model, layers),
    notes: inspectionNotes(record, { layers, rejected }),
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
      activation: activation.name,
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

function sizesOf(model: Model, layers: readonly MoeLayer[]): Inspection['sizes'] {
  const bytes = new Map<Role, number>();
  const roles = rolesOf(model, layers);
  for (const { name, tensor } of model.graph.constants) {
    const role = writtenRole(name) ?? roles.get(name)!;
    bytes.set(role, (bytes.get(role) ?? 0) + tensor!.source.byteLength);
  }
  return [...bytes].map(([role, size]) => ({ role, bytes: size })).toSorted((a, b) => b.bytes - a.bytes);
}
