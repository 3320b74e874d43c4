import { sourceName } from '../emit/linears/source-name.ts';
import { expertWeights } from '../moe/ffn-experts.ts';
import { readModelRecord } from '../moe/model-record.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import type { Role } from '../moe/roles.ts';
import { roles, rolesOf } from '../moe/roles.ts';
import { allGraphs } from '../onnx/graph.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import type { CensusRow } from '../report/report.ts';

/**
 * Names under which this project writes weights: `moeq/L0.E3/up/weight`; scales of all experts: `moeq/L0/up/scales`, and
 * what shifting them takes: `moeq/L0/shift/codes`, `moeq/L0/up/offset`; what unpacks them; and biases, `moeq/L0/up/bias`.
 */
const expertConstant = /^moeq\/(?:trits\/|L\d+(?:\.E\d+)?\/(?:gate|up|gate_up|down|shift)\/)/;

/** Biases stay float. */
const keptConstant = /\/bias(?:_\d+)?$/;

/** Other linears: `moeq/dense/<name in the source>/linear/weight`, and their scales. */
const denseConstant = /^moeq\/dense\/(.+)\/linear\/\w+$/;

/** Names of a router in 8 bits. */
const routerConstant = /^moeq\/L\d+\/router\/linear\/(?:weight|scales)$/;

/** What stands in a quantized file, by role, and how many bits an expert weight takes. */
export interface Census {
  rows: CensusRow[];
  /** Codes and scales of routed experts, per weight; null without quantized experts. */
  expertBitsPerWeight: number | null;
}

/**
 * Counts the bytes of a quantized model by role: in low precision (with scales) and kept as they
 * were, and lists what could not be quantized. Constants keep their names from the reference, or carry them in theirs,
 * so their roles are read off it.
 */
export function takeCensus(reference: PreparedModel, quantized: Model): Census {
  const known = rolesOf(reference.model, reference.layers);
  const rows = new Map(
    roles.map((role): [Role, CensusRow] => [role, { role, quantizedBytes: 0, keptBytes: 0, refused: [] }]),
  );
  for (const { name, tensor } of constantsOf(quantized)) {
    const { role, isQuantized } = placeOf(name, known);
    rows.get(role)![isQuantized ? 'quantizedBytes' : 'keptBytes'] += tensor!.source.byteLength;
  }
  for (const { role, tensor, reason } of readModelRecord(quantized)?.refused ?? [])
    rows.get(role)!.refused.push({ tensor, reason });
  const expertBytes = rows.get('expert')!.quantizedBytes;
  const weights = reference.layers.reduce((sum, layer) => sum + expertWeights(layer), 0);
  return {
    rows: [...rows.values()],
    expertBitsPerWeight: expertBytes > 0 ? (expertBytes * 8) / weights : null,
  };
}

/** All that is stored, in branches too. */
export function constantsOf({ graph }: Model): Value[] {
  return [...allGraphs(graph)].flatMap(({ constants }) => [...constants]);
}

function placeOf(name: string, known: ReadonlyMap<string, Role>): { role: Role; isQuantized: boolean } {
  const written = writtenRole(name);
  if (written) return { role: written, isQuantized: !keptConstant.test(name) };
  return { role: known.get(sourceOf(name, known)) ?? 'other', isQuantized: denseConstant.test(name) };
}

/** The name of what a constant of a written file was made from, among those that are known. */
export function sourceOf(name: string, known: ReadonlyMap<string, Role>): string {
  return denseConstant.exec(name)?.[1] ?? sourceName(name, known);
}

/** The role of a constant that this project wrote for experts or routers; null for any other. */
export function writtenRole(name: string): 'expert' | 'router' | null {
  if (expertConstant.test(name)) return 'expert';
  return routerConstant.test(name) ? 'router' : null;
}
