import type { Tensor } from '../../onnx/tensor.ts';
import type { Value } from '../../onnx/value.ts';
import { tensorOf } from './constant.ts';
import type { Shapes } from './shapes.ts';

/** No graph takes more steps to make a weight of what it stores. */
const searched = 48;

/** The largest tensor behind a value that is computed from stored numbers alone; null where anything else takes part. */
export function computedRoot(value: Value, shapes: Shapes): { shape: number[]; tensor: Tensor } | null {
  const dims = shapes.shapeOf(value);
  if (!dims || dims.length < 2 || dims.includes(null)) return null;
  const seen = new Set([value]);
  let largest: Tensor | null = null;
  for (const each of seen) {
    const tensor = tensorOf(each);
    if (tensor && tensor.source.byteLength > (largest?.source.byteLength ?? 0)) largest = tensor;
    if (tensor) continue;
    const inputs = each.producer?.inputs.filter((input) => input !== null) ?? [];
    if (inputs.length === 0 || each.producer!.subgraphs.size > 0 || seen.size > searched) return null;
    for (const input of inputs) seen.add(input);
  }
  return largest && { shape: dims as number[], tensor: largest };
}
