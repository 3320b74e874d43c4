import type { Node } from '../../onnx/node.ts';
import type { Use, Value } from '../../onnx/value.ts';
import { isZero, scalarOf } from '../graph/constant.ts';
import { dataUses } from '../graph/data-uses.ts';
import { equationOf } from '../graph/einsum.ts';
import { layoutOps } from '../graph/operators.ts';
import type { Accumulation } from './accumulation.ts';
import { accumulationAt, accumulationOn } from './accumulation.ts';
import type { Evidence } from './describe-layer.ts';
import { isMadeToFit } from './mask-places.ts';
import { fromInput, fromRouter } from './region.ts';

/** A step on the way from an expert to the output of its layer. */
export interface Step {
  value: Value;
  weighing: Weighing | null;
  selection: Node | null;
  sum: Node | null;
  /** A number that the value is multiplied by. */
  factor: number;
  /** Puts rows into a table without adding to what is there: `none` writes over it, `max`, `min` and `mul` mix it in. */
  overwrite: { node: Node; data: Value; reduction: string } | null;
  /** True where outputs of several experts come together, or rows are put back in their places. */
  isJoin: boolean;
}

export interface Weighing {
  node: Node;
  weight: Value;
}

/** What a step is judged by. */
export interface Context extends Evidence {
  /** Values that descend from the last linears of experts. */
  fromDowns: ReadonlySet<Value>;
  /** Those that descend from other linears that no router chose. */
  fromOthers: ReadonlySet<Value>;
}

/**
 * The step that the one reader of a value takes, or the two that add to rows of it; null where there are more, or where
 * it is not linear in the value.
 */
export function nextStep(value: Value, context: Context): Step | null {
  const { region, bank } = context;
  const uses = dataUses(value);
  const accumulation = accumulationAfter(value, uses, context);
  if (accumulation) return { ...plain, value: accumulation.output, isJoin: true };
  const [use, ...others] = uses;
  if (!use || others.length > 0 || region.exits.includes(use.node)) return null;
  const { node, index } = use;
  const [output] = node.outputs;
  if (!output || !region.colour.has(output)) return null;
  const rest = node.inputs.filter((_, at) => at !== index);
  if (node === bank.joinedBias || (layoutOps.has(node.opType) && index === 0))
    return { ...plain, value: output };
  const found = Object.hasOwn(rules, node.opType) && rules[node.opType]({ node, index, rest, context });
  return found ? { ...plain, value: output, ...found } : null;
}

/** `results[rows] += value` into a part of the routed sum, or such an addition of another part to the value. */
function accumulationAfter(value: Value, uses: readonly Use[], context: Context): Accumulation | null {
  const { facts, region } = context;
  const [use] = uses;
  const isAdded = uses.length === 1 && use.node.opType === 'Add';
  const found = isAdded ? accumulationAt(use.node, facts) : accumulationOn(value, uses, facts);
  if (!found || region.exits.includes(found.add) || !region.colour.has(found.output)) return null;
  const { table, rows, addend } = found;
  const areParts = [table, addend].every((each) => each === value || isPart(each, context));
  return areParts && (isRouting(rows, context) || isIndex(rows, context)) ? found : null;
}

const plain: Omit<Step, 'value'> = {
  weighing: null,
  selection: null,
  sum: null,
  factor: 1,
  overwrite: null,
  isJoin: false,
};

/** How a node reads what experts gave. */
interface Reading {
  node: Node;
  /** Of the input that is followed. */
  index: number;
  /** The other inputs. */
  rest: (Value | null)[];
  context: Context;
}

/** What there is to a step beyond its value; null where its operator is not passed. */
type Rule = (reading: Reading) => Partial<Step> | null;

const product: Rule = ({ node, rest, context }) => {
  const [weight, ...others] = rest;
  return isRouting(weight, context) && others.length === 0
    ? { weighing: { node, weight }, isJoin: true }
    : null;
};

const joining: Rule = ({ rest, context }) =>
  rest.every((input) => isPart(input, context)) ? { isJoin: true } : null;

const scatter: Rule = ({ node, index, rest, context }) =>
  rest.every((input) => isPart(input, context) || isRouting(input, context) || isIndex(input, context))
    ? { isJoin: true, overwrite: overwriteOf(node, index) }
    : null;

const gather: Rule = ({ node, index, rest, context }) =>
  index === 0 && rest.every((input) => isRouting(input, context) || isIndex(input, context))
    ? { selection: node }
    : null;

const rules: Record<string, Rule> = {
  Mul: ({ node, rest: [other], context }) => {
    if (isRouting(other, context)) return { weighing: { node, weight: other } };
    const factor = scalarOf(other);
    return factor === null ? null : { factor };
  },
  Div: ({ index, rest: [divisor] }) => {
    const number = index === 0 ? scalarOf(divisor) : null;
    return number === null ? null : { factor: 1 / number };
  },
  MatMul: product,
  FusedMatMul: product,
  Einsum: (reading) => (sharesAxes(reading) ? product(reading) : null),
  Add: joining,
  Sum: joining,
  Concat: joining,
  ScatterND: scatter,
  ScatterElements: scatter,
  Gather: gather,
  GatherND: gather,
  GatherElements: gather,
  ReduceSum: ({ node, index }) => (index === 0 ? { sum: node } : null),
  Slice: ({ node, context }) => (isMadeToFit(node, context.facts.shapes) ? {} : null),
};

/** Whether an Einsum such as `te,ted->td` weighs each token by its own weights: axes they are summed over both have. */
function sharesAxes({ node, index }: Reading): boolean {
  const { operands, output } = equationOf(node) ?? { operands: [], output: [] };
  if (operands.length !== 2) return false;
  const [data, weights] = [operands[index], operands[1 - index]];
  const kept = weights.filter((label) => output.includes(label));
  const isSummed = kept.length < weights.length;
  const inOrder = output.filter((label) => kept.includes(label));
  return (
    weights.every((label) => data.includes(label) || output.includes(label)) &&
    (!isSummed || kept.join() === inOrder.join())
  );
}

function overwriteOf(node: Node, index: number): Step['overwrite'] {
  const reduction = node.string('reduction') ?? 'none';
  const isAdding = reduction === 'add' || (reduction === 'none' && index !== 2);
  return isAdding ? null : { node, data: node.inputs[0]!, reduction };
}

/** Another part of the routed sum, or zeros to add to. */
function isPart(input: Value | null, { facts, fromDowns, fromOthers }: Context): boolean {
  if (input === null) return true;
  return facts.isDataless(input) ? isZero(input) : fromDowns.has(input) && !fromOthers.has(input);
}

/** Row numbers: they depend on the routing, on nothing but shapes, or on nothing that experts made. */
function isIndex(input: Value | null, { region, facts }: Context): boolean {
  return input === null || facts.isDataless(input) || !((region.colour.get(input) ?? 0) & fromInput);
}

/** A value that the routing alone decides. */
function isRouting(input: Value | null, { region }: Context): input is Value {
  return input !== null && region.colour.get(input) === fromRouter;
}
