import type { Node } from '../../onnx/node.ts';
import type { Use, Value } from '../../onnx/value.ts';
import { isShapeInput, shapeOps } from './operators.ts';

/** The uses of a value by which its numbers are read, not only its shape or type. */
export function dataUses({ uses }: Value): Use[] {
  return uses.filter(
    ({ node, index }) => !shapeOps.has(node.opType) && !isShapeInput(node, index) && !isOnlyMeasured(node),
  );
}

/** A slice that serves only to read a shape, as exporters write it for index_add. */
function isOnlyMeasured({ opType, outputs }: Node): boolean {
  return opType === 'Slice' && outputs[0]!.uses.every(({ node }) => shapeOps.has(node.opType));
}
