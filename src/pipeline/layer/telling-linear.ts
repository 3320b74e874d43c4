import { Fault, isFault } from '../../fault.ts';
import type { Expert, Linear } from '../../moe/moe-layer.ts';
import { readMatrix } from '../../tensor/view.ts';

/**
 * Does what rounds a linear of an expert, and tells of which where that fails; a weight that is no number is told by its
 * place in the model's own tensor, which may hold it transposed or among those of other experts.
 * @throws Fault those of the work
 */
export async function tellingLinear<T>(
  expert: Expert,
  part: 'gate' | 'up' | 'down',
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isFault(error)) throw error;
    const linear = `expert ${expert.id}, ${part}`;
    const where = error.code === 'WEIGHT_NOT_FINITE' ? `${linear}: ${placeOf(expert[part]!)}` : linear;
    throw new Fault({ ...error.toRecord(), where }, { cause: error });
  }
}

/** `tensor w, element [3, 0, 17]`: of the first number that is none; they may have become so only when they were scaled. */
function placeOf({ name, weight }: Linear): string {
  const { cols, offset, rowStride, colStride, source } = weight;
  const at = readMatrix(weight).data.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return `tensor ${name}, when it was smoothed or rotated`;
  const flat = offset + Math.floor(at / cols) * rowStride + (at % cols) * colStride;
  return `tensor ${name}, element [${indicesOf(flat, source.shape).join(', ')}]`;
}

function indicesOf(flat: number, shape: readonly number[]): number[] {
  const indices: number[] = [];
  for (const size of shape.toReversed()) {
    indices.unshift(flat % size);
    flat = Math.floor(flat / size);
  }
  return indices;
}
