import { Fault } from '../fault.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { packCrumbs, packNibbles } from '../tensor/pack.ts';
import { fakeQuantize } from './fake-quantize.ts';
import type { LinearForm } from './grouped-ffn.ts';
import { packedTrits } from './packed-trits.ts';

/**
 * How exactly MatMulNBits computes: 0 in float32; 4 with activations rounded to 8 bits per block, many times faster
 * (level 0 expands 2-bit and 8-bit weights at every call).
 */
export type AccuracyLevel = 0 | 4;

export interface NBitsOptions {
  activationBits: number | null;
  accuracyLevel: AccuracyLevel;
  /** Ternary codes five to a byte, unpacked by nodes that ONNX Runtime folds at load. */
  packed: boolean;
}

/** `com.microsoft.MatMulNBits`: 2, 4 or 8 bits in blocks along the input dimension. */
export function nbitsForm({ activationBits, accuracyLevel, packed }: NBitsOptions): LinearForm {
  return {
    prepare: (b, x) => ({ operand: fakeQuantize(b, x, activationBits), scales: null }),
    linear(b, name, weight) {
      const { cols: K, rows: N } = weight;
      const blocks = blocksOf(weight);
      const inputs = packed
        ? [packedTrits(b, name, blocks), halfScales(b, name, blocks)]
        : [
            b.constant(`${name}/weight`, 'uint8', blobShape(blocks), blob(blocks)),
            b.constant(`${name}/scales`, 'float32', [N, blocks.perRow], blocks.scales),
          ];
      const attributes = { K, N, bits: blocks.bits, block_size: blocks.size, accuracy_level: accuracyLevel };
      const options = { domain: 'com.microsoft', name };
      return ({ operand }) => b.op('MatMulNBits', [operand, ...inputs], attributes, options);
    },
    integer: false,
  };
}

/** A weight cut into blocks along its rows, the last block filled up with zeros. */
export interface Blocks {
  rows: number;
  bits: 2 | 4 | 8;
  size: number;
  /** Blocks per row. */
  perRow: number;
  /** Unsigned codes [rows, perRow · size]; 2^(bits-1) stands for zero. */
  codes: Uint8Array;
  /** [rows, perRow] */
  scales: Float32Array;
}

/** Block sizes MatMulNBits takes, the best first: its 2-bit kernel knows 32 to 128. */
const blockSizes = [128, 64, 32, 16];

function blocksOf({ rows, cols, bits, groupSize, codes, scales, zeroPoints }: QuantizedTensor): Blocks {
  const isPerChannel = groupSize >= cols;
  const size = isPerChannel ? 128 : blockSizes.find((candidate) => groupSize % candidate === 0);
  if (size === undefined || zeroPoints) throw unsupported(groupSize, zeroPoints !== null);
  const stored = bits === 3 ? 4 : bits;
  const zero = 2 ** (stored - 1);
  const perRow = Math.ceil(cols / size);
  const groups = scales.length / rows;
  const blocks: Blocks = {
    rows,
    bits: stored,
    size,
    perRow,
    codes: new Uint8Array(rows * perRow * size).fill(zero),
    scales: new Float32Array(rows * perRow),
  };
  for (let r = 0; r < rows; r++) {
    const row = blocks.codes.subarray(r * perRow * size);
    const signed = codes.subarray(r * cols, (r + 1) * cols);
    for (let c = 0; c < cols; c++) row[c] = signed[c] + zero;
    for (let i = 0; i < perRow; i++)
      blocks.scales[r * perRow + i] = scales[r * groups + Math.floor((i * size) / groupSize)];
  }
  return blocks;
}

function blob({ bits, codes }: Blocks): Uint8Array {
  if (bits === 8) return codes;
  return bits === 4 ? packNibbles(codes) : packCrumbs(codes);
}

/** [rows, blocks, bytes of a block] */
export function blobShape({ rows, perRow, size, bits }: Blocks): number[] {
  return [rows, perRow, (size * bits) / 8];
}

/** Scales that are float16 numbers already (see `roundScales`), at half the size. */
function halfScales(b: Builder, name: string, { rows, perRow, scales }: Blocks): Value {
  const stored = b.constant(`${name}/scales`, 'float16', [rows, perRow], [...scales]);
  return b.op('Cast', [stored], { to: 1 }, { name: `${name}/float_scales` });
}

function unsupported(groupSize: number, hasZeroPoints: boolean): Fault {
  return new Fault({
    code: 'GROUP_TARGET',
    what: hasZeroPoints
      ? 'target nbits is written for symmetric grids'
      : `target nbits cannot be written with group ${groupSize}`,
    why: 'MatMulNBits takes blocks of 16, 32, 64 or 128 weights',
    remedy: 'use a group that is a multiple of 16, or channel',
  });
}
