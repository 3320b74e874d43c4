import { linearsOf } from '../moe/ffn-experts.ts';
import type { Linear, MoeLayer } from '../moe/moe-layer.ts';
import type { DataType } from '../tensor/dtype.ts';
import { dataTypeOf } from '../tensor/dtype.ts';

const exactOps = new Set(['MatMul', 'Gemm', 'Einsum', 'Conv', 'MoE']);

/** Whether a layer rounds to float32 alone on its way: products of half floats, and of quantized weights, are coarser. */
export function computesInFloat({ boundary, experts }: MoeLayer): boolean {
  const linears = experts.flatMap(linearsOf);
  const declared = boundary!.output.dtype ?? boundary!.input.dtype ?? 'float32';
  return [declared, ...linears.map(typeOf)].every((type) => type === 'float32') && linears.every(isExact);
}

function isExact({ node }: Linear): boolean {
  return exactOps.has(node.opType);
}

/** What a linear multiplies in: the type its weight is stored in, or brought to. */
function typeOf({ node, weightInput, weight }: Linear): DataType {
  let value = node.inputs[weightInput];
  while (value?.producer && value.producer.opType !== 'Cast') value = value.producer.inputs[0] ?? null;
  const to = value?.producer?.int('to');
  return to === undefined ? weight.source.dtype : dataTypeOf(to)!;
}
