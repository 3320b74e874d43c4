import type { ResolvedTarget } from '../emit/resolve-target.ts';
import { linearsOf } from '../moe/ffn-experts.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { groupCountOf, storedBits } from '../quantize/grid.ts';

/** What the experts of a layer will take, roughly: codes, and one float16 scale per row and group. */
export function resultBytes({ experts }: MoeLayer, { scheme, groupSizeOf }: ResolvedTarget): number {
  const bits = storedBits(scheme.weight.bits);
  return experts.flatMap(linearsOf).reduce((sum, { weight: { rows, cols } }) => {
    const groups = groupCountOf(cols, groupSizeOf(cols));
    return sum + Math.ceil((rows * cols * bits) / 8) + rows * groups * 2;
  }, 0);
}
