import type { DataType } from '../tensor/dtype.ts';
import { codeOf } from '../tensor/dtype.ts';
import type { ValueInfoProto } from './messages.ts';

/** The declaration of a tensor; of so many dimensions of any size, or of any shape. */
export function tensorInfo(name: string, dtype: DataType, rank?: number): ValueInfoProto {
  const tensorType = { elemType: codeOf(dtype) };
  if (rank === undefined) return { name, type: { tensorType } };
  const dim = Array.from({ length: rank }, (_, i) => ({ dimParam: `${name}_${i}` }));
  return { name, type: { tensorType: { ...tensorType, shape: { dim } } } };
}
