import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { elementwiseOps, layoutOps, shapeOps } from '../graph/operators.ts';
import type { Region } from './region.ts';
import { fromInput, fromRouter } from './region.ts';

/** Where an expert's output meets the routing, or the other experts. */
export interface Meeting {
  node: Node;
  /** Which input of the node the expert's output comes in by. */
  index: number;
  /** Other inputs that depend on the routing alone. */
  routing: Value[];
}

const passing = new Set([...elementwiseOps, ...layoutOps, 'Slice']);

/** Follows an expert's output, through what is done to it alone, to the first node where it meets something else. */
export function meetingOf(output: Value, { colour }: Region): Meeting | null {
  const depends = (value: Value | null, bits: number): boolean =>
    value !== null && Boolean((colour.get(value) ?? 0) & bits);
  let value = output;
  for (let hops = 0; hops < 16; hops++) {
    const uses = value.uses.filter(
      ({ node }) => !shapeOps.has(node.opType) && node.outputs.some((each) => depends(each, fromInput)),
    );
    const nodes = new Set(uses.map(({ node }) => node));
    const [use] = uses;
    if (!use || nodes.size > 1) return null;
    const { node, index } = use;
    const others = node.inputs.filter((input) => input && input !== value);
    const routing = others.filter(
      (input): input is Value => depends(input, fromRouter) && !depends(input, fromInput),
    );
    const isAlone = !others.some((input) => depends(input, fromInput | fromRouter));
    if (!isAlone || !passing.has(node.opType)) return { node, index, routing };
    value = node.outputs[0]!;
  }
  return null;
}
