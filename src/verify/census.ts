import type { PreparedModel } from '../moe/prepare-model.ts';
import type { Role } from '../moe/role.ts';
import { roles } from '../moe/role.ts';
import { rolesOf } from '../moe/roles.ts';
import type { Model } from '../onnx/model.ts';
import type { CensusRow } from '../report/report.ts';
import { countOf } from '../tensor/dtype.ts';

/**
 * Names under which this project writes weights: `moeq/L0.E3/up/weight`; scales of all experts: `moeq/L0/up/scales`; and
 * what unpacks them. Biases stay float.
 */
const expertConstant = /^moeq\/(?:trits\/|L\d+(?:\.E\d+)?\/(?:gate|up|gate_up|down)\/(?!bias))/;

/** What stands in a quantized file, by role, and how many bits an expert weight takes. */
export interface Census {
  rows: CensusRow[];
  /** Codes, scales and zero points of routed experts, per weight; null without quantized experts. */
  expertBitsPerWeight: number | null;
}

/**
 * Counts the bytes of a quantized model by role: in low precision (with scales and zero points) and kept as they
 * were. Constants keep their names from the reference, so their roles are read off it.
 */
export function takeCensus(reference: PreparedModel, quantized: Model): Census {
  const known = rolesOf(reference.model, reference.layers);
  const rows = new Map(
    roles.map((role): [Role, CensusRow] => [role, { role, quantizedBytes: 0, keptBytes: 0, refused: [] }]),
  );
  let expertBytes = 0;
  for (const { name, tensor } of quantized.graph.constants) {
    const { byteLength } = tensor!.source;
    const isExpert = expertConstant.test(name);
    if (isExpert) expertBytes += byteLength;
    const row = rows.get(
      isExpert ? 'expert' : (known.get(name.replace(/_smoothed(?:_\d+)?$/, '')) ?? 'other'),
    )!;
    if (isExpert) row.quantizedBytes += byteLength;
    else row.keptBytes += byteLength;
  }
  const weights = expertWeights(reference);
  return {
    rows: [...rows.values()],
    expertBitsPerWeight: expertBytes > 0 ? (expertBytes * 8) / weights : null,
  };
}

/** Number of routed expert weights, biases not counted. */
function expertWeights({ layers }: PreparedModel): number {
  const linears = layers.flatMap(({ experts }) => experts.flatMap(({ gate, up, down }) => [gate, up, down]));
  return linears.reduce(
    (sum, linear) => sum + (linear ? countOf([linear.weight.rows, linear.weight.cols]) : 0),
    0,
  );
}
