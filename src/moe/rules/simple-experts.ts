import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { aliasRoot, isScatter, layoutOps, shapeOps } from '../graph/operators.ts';
import type { Boundary, Expert, Router } from '../moe-layer.ts';
import type { Evidence } from './describe-layer.ts';
import { differences } from './expert-keys.ts';
import { isWeighedByFirst, maskedColumns } from './idle-columns.ts';
import { fromInput, fromRouter } from './region.ts';

/**
 * What the columns of a router beyond the experts with matrices stand for, and the boundary in which they are told apart;
 * nothing where there are none or where they were not understood.
 */
export function beyondExperts(
  evidence: Evidence,
  { topK }: Router,
  boundary: Boundary | string,
): { simple: Expert[]; boundary: Boundary | string } {
  const [held, columns] = [evidence.bank.experts.length, evidence.candidate.experts];
  if (held >= columns) return { simple: [], boundary };
  const masked = typeof boundary === 'string' ? null : maskedColumns(evidence, boundary);
  const others = Array.from({ length: columns - held }, (_, at) => held + at);
  const idle = masked?.columns ?? (isWeighedByFirst(evidence, topK) ? others : null);
  const simple = idle?.map((index) => withoutMatrices(index, 'zero')) ?? simpleExperts(evidence);
  return { simple, boundary: masked?.boundary ?? boundary };
}

/**
 * Experts without matrices, as in MoE++ (Jin et al. 2024) and LongCat: columns of the router whose tokens are scattered
 * back untouched (copy), as zeros, or after something else (constant). They are numbered by comparing where their rows
 * go with where those of a known expert go.
 */
function simpleExperts(evidence: Evidence): Expert[] {
  const { bank, region, candidate } = evidence;
  const known = new Set(bank.experts.map(({ key }) => key));
  const [first] = bank.branches;
  const reference = scatterOf(first.down.output);
  const [{ key }] = bank.experts;
  if (bank.isStacked || bank.isHitList || known.has(null) || !reference || key === null) return [];
  const found = new Map<number, Expert>();
  for (const node of region.nodes) {
    if (!isScatter(node) || node === reference) continue;
    const pair = differences([reference.inputs[1]!, node.inputs[1]!], region, candidate.experts).find(
      ({ keys }) => keys[0] === key,
    );
    const index = pair?.keys[1];
    if (index === undefined || known.has(index) || index < 0 || index >= candidate.experts) continue;
    found.set(index, withoutMatrices(index, kindOf(node.inputs[2]!, evidence)));
  }
  return [...found.values()];
}

function withoutMatrices(index: number, kind: Expert['kind']): Expert {
  return { id: '', index, kind, gate: null, up: null, down: null };
}

/** The node that scatters an expert's rows back to their tokens. */
function scatterOf(output: Value): Node | null {
  let value = output;
  for (let hops = 0; hops < 12; hops++) {
    const [use] = value.uses.filter(({ node }) => !shapeOps.has(node.opType));
    if (!use) return null;
    if (isScatter(use.node)) return use.index === 2 ? use.node : null;
    if (use.node.opType !== 'Mul' && !layoutOps.has(use.node.opType)) return null;
    value = use.node.outputs[0]!;
  }
  return null;
}

/** What an update is before it is weighed by the routing. */
function kindOf(update: Value, { region }: Evidence): Expert['kind'] {
  const bits = (value: Value | null): number => (value && region.colour.get(value)) ?? 0;
  let value = update;
  for (let hops = 0; hops < 12; hops++) {
    if (!(bits(value) & fromInput)) return 'zero';
    const node = value.producer;
    if (!node) return 'constant';
    if (layoutOps.has(node.opType)) value = node.inputs[0]!;
    else if (node.opType === 'Mul' && node.inputs.some((input) => bits(input) === fromRouter)) {
      value = node.inputs.find((input) => bits(input) !== fromRouter) ?? node.inputs[0]!;
    } else {
      const isPick = node.opType === 'Gather' || node.opType === 'GatherND';
      return isPick && region.aliases.has(aliasRoot(node.inputs[0]!)) ? 'copy' : 'constant';
    }
  }
  return 'constant';
}
