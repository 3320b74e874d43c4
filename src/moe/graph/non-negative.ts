import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { decodeNumbers } from '../../tensor/decode.ts';
import { numbersOf } from './constant.ts';
import { layoutOps } from './operators.ts';

/** Operators whose results are never below zero. */
const positiveOps = new Set([
  ...'Softmax Sigmoid HardSigmoid Relu Exp Softplus Abs Sqrt ReduceL1 ReduceL2 ReduceSumSquare Shape Size'.split(
    ' ',
  ),
  ...'Equal Greater GreaterOrEqual Less LessOrEqual And Or Not Xor IsNaN'.split(' '),
]);
/** Operators that pick elements of their first input, or add some of them up. */
const pickingOps = new Set(
  'TopK Gather GatherElements GatherND Slice Split Compress ReduceSum ReduceMean ReduceMax ReduceMin CumSum'.split(
    ' ',
  ),
);
/** Operators of several inputs none of which takes anything away. */
const joiningOps = new Set('Add Mul Div Max Min Sum Mean MatMul Einsum Concat'.split(' '));

/** So deep a value is followed. */
const deepest = 64;

/** Whether the graph shows that no element of a value can be below zero. */
export function isNonNegative(value: Value | null, depth = 0): boolean {
  if (!value || depth > deepest) return false;
  const numbers = numbersOf(value);
  if (numbers) return numbers.every((number) => number >= 0);
  const node = value.producer;
  if (!node) return false;
  if (isPositive(node)) return true;
  const inputs = dataInputs(node);
  return inputs.length > 0 && inputs.every((input) => isNonNegative(input, depth + 1));
}

/** The inputs that the elements of a node's outputs come from; none for one that may do anything. */
function dataInputs({ opType, inputs }: Node): readonly (Value | null)[] {
  if (layoutOps.has(opType) || pickingOps.has(opType)) return inputs.slice(0, 1);
  if (joiningOps.has(opType)) return inputs;
  if (opType === 'Where') return inputs.slice(1);
  if (opType === 'ScatterElements' || opType === 'ScatterND') return [inputs[0], inputs[2]];
  if (opType === 'OneHot') return inputs.slice(2);
  // Cut at zero or above, it does not matter what is cut.
  return opType === 'Clip' && inputs[1] ? [inputs[1]] : [];
}

/** Whether what a node makes is never below zero, whatever it reads. */
function isPositive(node: Node): boolean {
  const { opType, inputs } = node;
  if (opType === 'ConstantOfShape') return isFilledSo(node);
  const isSquare = opType === 'Mul' && inputs[0] === inputs[1];
  const fused = opType === 'FusedGemm' ? (node.string('activation') ?? '') : '';
  return isSquare || positiveOps.has(opType) || positiveOps.has(fused);
}

/** Of zeros unless told otherwise. */
function isFilledSo({ tensors }: Node): boolean {
  const fill = tensors.get('value');
  return !fill || decodeNumbers(fill.source.read(), fill.source.dtype).every((number) => number >= 0);
}
