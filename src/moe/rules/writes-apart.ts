import type { Node } from '../../onnx/node.ts';
import { isZero } from '../graph/constant.ts';
import type { Shapes } from '../graph/shapes.ts';
import { comparisonOf, maskOf } from './mask-places.ts';

/**
 * Whether a chain of writes that begins on zeros puts no two rows in one place, so that it is a sum: each goes to where one
 * and the same table of choices holds a number of its own, as in `y[choice == e] = expert(x[choice == e])`.
 */
export function writesApart(last: Node, shapes: Shapes): boolean {
  const comparisons: ReturnType<typeof comparisonOf>[] = [];
  let node: Node | null = last;
  for (; node?.opType === 'ScatterND'; node = node.inputs[0]!.producer) {
    const mask = maskOf(node.inputs[1]!, shapes);
    comparisons.push(mask && comparisonOf(mask));
    if (isZero(node.inputs[0]!)) break;
  }
  const [first] = comparisons;
  const numbers = new Set(comparisons.map((each) => each?.number));
  const isOne = comparisons.every((each) => each && each.choice === first!.choice);
  return node?.opType === 'ScatterND' && isOne && numbers.size === comparisons.length;
}
