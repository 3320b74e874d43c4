import type { Value } from '../../onnx/value.ts';
import { isZero, scalarOf } from '../graph/constant.ts';
import { equationOf } from '../graph/einsum.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { aliasRoot, elementwiseOps, layoutOps } from '../graph/operators.ts';
import type { Router, Routing } from '../moe-layer.ts';
import { columnProblem, tableProblem } from './column-numbers.ts';
import type { Weighing } from './combine-step.ts';
import type { Combination } from './combine.ts';
import type { Evidence } from './describe-layer.ts';
import { isPickedFrom, listedGates } from './listed-gates.ts';
import type { RoutingSource } from './routing-source.ts';
import { indexSource, weightSource } from './routing-source.ts';
import { isSoftmaxOfChosen } from './softmax-of-chosen.ts';
import type { Slots } from './slots.ts';
import type { TokenSource } from './token-source.ts';

/** Where a layer's routing is read, and how; a string tells why it could not be. */
export function routingOf(
  combined: Combination,
  source: TokenSource,
  evidence: Evidence,
  router: Router,
): Routing | string {
  if (source.scale) return scaledInput(source.scale, combined, evidence, router);
  const routing = scaledOutput(combined, source, evidence, router);
  const { factor } = combined;
  return typeof routing === 'string' || factor === 1 ? routing : { ...routing, factor };
}

function scaledInput(
  scale: Value,
  { weights, factor }: Combination,
  evidence: Evidence,
  router: Router,
): Routing | string {
  if (weights.some((each) => each.length > 0))
    return 'the routing weighs both input and output of the experts';
  if (factor !== 1) return `the outputs of experts whose input is weighed are multiplied by ${factor}`;
  const { value } = weightSource(scale, evidence, router);
  const last = evidence.facts.shapes.shapeOf(value)?.at(-1);
  if (last !== router.experts || !evidence.bank.isStacked)
    return "the weights of the experts' inputs were not found";
  return { kind: 'dense', weights: value, expertAxis: 'last', appliesTo: 'input' };
}

function scaledOutput(
  combined: Combination,
  source: TokenSource,
  evidence: Evidence,
  router: Router,
): Routing | string {
  const { weights } = combined;
  const wrong = weights.findIndex((each) => each.length !== 1);
  if (wrong >= 0) {
    const { down } = evidence.bank.branches[wrong];
    return `${down.node.name} is weighed ${weights[wrong].length} times by the routing, not once`;
  }
  const weighings = weights.map(([weighing]) => weighing);
  const masked = source.slots ? null : maskedRouting(weighings, evidence, router);
  if (masked) return masked;
  const [table, ...others] = weighings.map(({ weight }) => weightSource(weight, evidence, router));
  if (others.some(({ value }) => value !== table.value)) return 'its experts are weighed by unequal tables';
  return source.slots
    ? slotRouting(weighings[0], table, source.slots, evidence)
    : tableRouting(table, source.index, combined, evidence, router);
}

/** Experts that are all weighed by masked sums of one table; null where one is not. */
function maskedRouting(
  weighings: readonly Weighing[],
  evidence: Evidence,
  router: Router,
): Routing | string | null {
  const masked = weighings.map(({ weight }) => maskedSum(weight, evidence));
  if (!masked.every((each) => each !== null)) return null;
  const [{ weights, indices }] = masked;
  if (masked.some((each) => each.weights !== weights || each.indices !== indices))
    return 'its experts are masked in unequal ways';
  const problems = masked.map(({ mask }) => columnProblem(mask, indices, evidence));
  return problems.find(Boolean) ?? topK(indices, weights, router, evidence);
}

/** Weights [..., experts, slots] of the slots that tokens were put into. */
function slotRouting(
  weighing: Weighing,
  { value, isTransposed }: RoutingSource,
  slots: Slots,
  { facts, candidate }: Evidence,
): Routing | string {
  const dims = facts.shapes.shapeOf(value) ?? [];
  const areSlots = dims.length > 2 && dims.at(-2) === candidate.experts && !isTransposed;
  const isSummed = weighing.node.opType === 'Einsum' ? sumsSlots : sumsFlatSlots;
  if (!areSlots || !isSummed(weighing, facts, candidate.experts))
    return 'the weights of the slots were not found';
  if (slots.weights && slots.weights !== value) return 'tokens are put into other slots than are weighed';
  return { kind: 'combine', weights: value, appliesTo: 'output' };
}

/** Weights of all experts, or of those that were chosen. */
function tableRouting(
  { value, isTransposed }: RoutingSource,
  tokenIndex: Value | null,
  { selections }: Combination,
  evidence: Evidence,
  router: Router,
): Routing | string {
  const { bank, facts, region } = evidence;
  const gates = tokenIndex && listedGates(tokenIndex, evidence);
  if (gates && isPickedFrom(value, gates) && facts.shapes.shapeOf(gates)?.at(-1) === router.experts)
    return denseRouting(gates, null, evidence, router);
  if (facts.shapes.shapeOf(value)?.at(-1) === router.experts && !isByChoice(value, evidence))
    return denseRouting(value, tokenIndex, evidence, router);
  if (isTransposed) return 'the weights of the chosen experts are transposed';
  const chosenBy =
    tokenIndex ?? bank.branches[0].down.view.selector?.index ?? selections[0]?.inputs[1] ?? null;
  const indices = chosenBy && indexSource(chosenBy, region, facts);
  if (!indices)
    return 'the table of chosen experts was not found, or more than it decides which tokens an expert gets';
  return columnProblem(chosenBy, indices, evidence) ?? topK(indices, value, router, evidence);
}

const keepingOrder = new Set([...elementwiseOps, ...layoutOps, 'Softmax']);

/** Whether an Einsum such as `tec,ecd->td` adds up what the slots of all experts hold for each token. */
function sumsSlots({ node, weight }: Weighing): boolean {
  const { operands, output } = equationOf(node) ?? { operands: [], output: [] };
  if (operands.length !== 2) return false;
  const at = node.inputs.indexOf(weight);
  const tokens = operands[at].slice(0, -2);
  const [expert, slot] = operands[at]
    .slice(-2)
    .map((label) => (output.includes(label) ? -1 : operands[1 - at].indexOf(label)));
  return expert >= 0 && expert < slot && tokens.join() === output.slice(0, tokens.length).join();
}

/** The same of a product of weights [tokens, experts · slots] with what all slots hold, one expert after the other. */
function sumsFlatSlots({ node, weight }: Weighing, { shapes }: GraphFacts, experts: number): boolean {
  const [left, right] = node.inputs;
  const dims = (right && shapes.shapeOf(aliasRoot(right))) ?? [];
  return left === weight && dims.at(-3) === experts && dims.slice(0, -3).every((dim) => dim === 1);
}

function topK(indices: Value, weights: Value, router: Router, evidence: Evidence): Routing | string {
  const { facts } = evidence;
  const k = router.topK;
  if (k === null) return 'the number of experts per token is not fixed';
  const isTable = (value: Value): boolean =>
    facts.shapes.shapeOf(value)?.at(-1) === k || (k === 1 && isOnePerToken(value));
  if (!isTable(indices)) return `${indices.name} is no table of ${k} experts per token`;
  if (!isTable(weights)) return `${weights.name} is no table of ${k} weights per token`;
  return tableProblem(indices, evidence) ?? { kind: 'topk', indices, weights, k, appliesTo: 'output' };
}

/** The largest column of each token or its number, or what is worked out from such values one by one. */
function isOnePerToken({ producer }: Value): boolean {
  const { opType = '', inputs = [] } = producer ?? {};
  if (opType === 'ArgMax' || opType === 'ReduceMax') return true;
  const isOwn = (input: Value | null): boolean =>
    input !== null && (scalarOf(input) !== null || isOnePerToken(input));
  return elementwiseOps.has(opType) && inputs.every(isOwn);
}

/** Whether a table of as many weights as experts is in the order of a choice that takes all of them, not of columns. */
function isByChoice(table: Value, evidence: Evidence, depth = 0): boolean {
  const { opType = '', inputs = [] } = table.producer ?? {};
  const isChoice = opType === 'TopK' || table === evidence.region.lookedUp;
  if (isChoice || depth > 16) return isChoice;
  // Picking by the choice brings columns into its order, and what is in its order back into that of columns.
  if (opType === 'GatherElements')
    return isByChoice(inputs[1]!, evidence, depth + 1) && !isByChoice(inputs[0]!, evidence, depth + 1);
  const last = (value: Value): number | null | undefined => evidence.facts.shapes.shapeOf(value)?.at(-1);
  return (
    keepingOrder.has(opType) &&
    inputs.some((input) => input && last(input) === last(table) && isByChoice(input, evidence, depth + 1))
  );
}

/** Weights for every expert; where they were scattered into zeros, the tables they were scattered from. */
function denseRouting(
  weights: Value,
  tokenIndex: Value | null,
  evidence: Evidence,
  router: Router,
): Routing | string {
  const node = weights.producer;
  const [base, indices, updates] = node?.inputs ?? [];
  // Where all experts were chosen, zeros alone say who takes part (top-p): a table of columns leaves them out.
  const isSome = router.topK !== router.experts;
  if (isSome && node?.opType === 'ScatterElements' && base && indices && updates && isZero(base)) {
    const reduced = node.string('reduction') ?? 'none';
    const found =
      reduced === 'none' || reduced === 'add'
        ? topK(aliasRoot(indices), updates, router, evidence)
        : 'reduced';
    const table = aliasRoot(indices);
    const isSame = !tokenIndex || indexSource(tokenIndex, evidence.region, evidence.facts) === table;
    if (typeof found !== 'string' && isSame)
      return (tokenIndex && columnProblem(tokenIndex, table, evidence)) ?? found;
  }
  const picked = tokenIndex && chosenFrom(weights, tokenIndex, evidence, router);
  if (picked) return picked;
  if (tokenIndex && !isSoftmaxOfChosen(weights, tokenIndex, evidence))
    return 'weights of all experts meet tokens of one';
  return { kind: 'dense', weights, expertAxis: 'last', appliesTo: 'output' };
}

/** Scores of all experts of which a token's are those that its choice took: what the choice gives beside its indices. */
function chosenFrom(
  scores: Value,
  tokenIndex: Value,
  evidence: Evidence,
  router: Router,
): Routing | string | null {
  const indices = indexSource(tokenIndex, evidence.region, evidence.facts);
  const { opType, inputs = [], outputs = [] } = indices?.producer ?? {};
  const [weights] = outputs;
  const isChoice = opType === 'TopK' && aliasRoot(inputs[0]!) === aliasRoot(scores);
  if (!isChoice || !weights || !indices) return null;
  return columnProblem(tokenIndex, indices, evidence) ?? topK(indices, weights, router, evidence);
}

/** A weight written as the sum over k of weights · (indices == e). */
function maskedSum(
  weight: Value,
  { region, facts }: Evidence,
): { weights: Value; indices: Value; mask: Value } | null {
  const sum = aliasRoot(weight).producer;
  const summed = sum?.opType === 'ReduceSum' ? sum.inputs[0]?.producer : null;
  // Half floats are added up as floats.
  const product = summed?.opType === 'Cast' ? summed.inputs[0]?.producer : summed;
  if (product?.opType !== 'Mul') return null;
  for (const at of [0, 1]) {
    const mask = product.inputs[at] && aliasRoot(product.inputs[at]).producer;
    const table = product.inputs[1 - at];
    if (mask?.opType !== 'Equal' || !table) continue;
    const [equal] = mask.outputs;
    const indices = indexSource(equal!, region, facts);
    if (indices) return { weights: aliasRoot(table), indices, mask: equal! };
  }
  return null;
}
