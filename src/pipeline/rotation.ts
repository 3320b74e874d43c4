import type { RotationBlocks } from '../emit/rotated-form.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { hadamardBlock } from '../quantize/hadamard.ts';
import type { SettledRotation } from './variants.ts';

/** Where a config rotates a layer, and in blocks of how many channels. */
export function rotationOf(
  { hidden, intermediate }: MoeLayer,
  { input, down, block }: SettledRotation,
): RotationBlocks {
  const limit = block === 'auto' ? 128 : block;
  const blockOf = (kind: 'none' | 'hadamard', width: number): number | null => {
    const size = hadamardBlock(width, limit);
    return kind === 'none' || size === 1 ? null : size;
  };
  return { input: blockOf(input, hidden), hidden: blockOf(down, intermediate) };
}
