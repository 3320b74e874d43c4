import { Fault } from '../../fault.ts';
import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import type { ActivationGrid } from '../../quantize/activation.ts';
import { storedBits } from '../../quantize/grid.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import type { LinearForm } from '../linear-form.ts';
import { fakeQuantize } from './fake-quantize.ts';
import { packUnsigned } from './pack-codes.ts';
import { tritPacker } from './packed-trits.ts';
import { blockScaleConstant } from './scale-constant.ts';

/**
 * How exactly MatMulNBits computes: 0 in float32; 4 with activations rounded to 8 bits per block, many times faster
 * (level 0 expands 2-bit and 8-bit weights at every call).
 */
export type AccuracyLevel = 0 | 4;

export interface NBitsOptions {
  /** Of activations of so many channels; null for float. */
  gridOf: (width: number) => ActivationGrid | null;
  accuracyLevel: AccuracyLevel;
  /** Ternary codes five to a byte, unpacked by nodes that ONNX Runtime folds at load. */
  packed: boolean;
}

/** `com.microsoft.MatMulNBits`: 2, 4 or 8 bits in blocks along the input dimension. */
export function nbitsForm({ gridOf, accuracyLevel, packed }: NBitsOptions): LinearForm {
  const packTrits = tritPacker();
  return {
    prepare: (b, x, { width }) => ({ operand: fakeQuantize(b, x, gridOf(width)), scales: null }),
    linear(b, name, weight) {
      const { cols: K, rows: N } = weight;
      const blocks = blocksOf(weight);
      const codes = packed ? packTrits(b, name, blocks) : weightBlob(b, `${name}/weight`, blocks);
      const shape = [weight.rows, weight.scales.length / weight.rows];
      const scaling = { scales: weight.scales, groupOfBlock: blocks.groupOfBlock };
      const scales = blockScaleConstant(b, `${name}/scales`, shape, scaling);
      const attributes = { K, N, bits: blocks.bits, block_size: blocks.size, accuracy_level: accuracyLevel };
      const options = { domain: 'com.microsoft', name };
      return {
        product: (inner, { operand }) =>
          inner.op('MatMulNBits', [operand, codes, scales], attributes, options),
      };
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
  /** [rows, perRow · size] */
  codes: Int8Array;
  /** Which group of its row each block belongs to, [perRow]. */
  groupOfBlock: number[];
}

/** Block sizes MatMulNBits takes, the fastest first: its 2-bit kernel knows 32 to 128. */
const blockSizes = [128, 64, 32, 16];

/** The first block size that groups are whole numbers of and that fills up rows by a 16th at most; else by the least. */
function blockSizeOf(cols: number, groupSize: number): number | undefined {
  const filled = (size: number): number => Math.ceil(cols / size) * size;
  const fitting = blockSizes.filter((size) => groupSize >= cols || groupSize % size === 0);
  const least = Math.min(...fitting.map(filled));
  return fitting.find((size) => filled(size) <= Math.max(least, cols * (1 + 1 / 16)));
}

function blocksOf({ rows, cols, bits, groupSize, codes }: QuantizedTensor): Blocks {
  const size = blockSizeOf(cols, groupSize);
  if (size === undefined) throw unsupported(groupSize);
  const perRow = Math.ceil(cols / size);
  const groupOfBlock = Array.from({ length: perRow }, (_, i) => Math.floor((i * size) / groupSize));
  const filled = fillRows(codes, cols, perRow * size);
  return { rows, bits: storedBits(bits), size, perRow, codes: filled, groupOfBlock };
}

/** Rows of `cols` codes as rows of `width`, zeros behind. */
function fillRows(codes: Int8Array, cols: number, width: number): Int8Array {
  if (width === cols) return codes;
  const rows = codes.length / cols;
  const result = new Int8Array(rows * width);
  for (let r = 0; r < rows; r++) result.set(codes.subarray(r * cols, (r + 1) * cols), r * width);
  return result;
}

/**
 * The codes behind an Identity, which is folded at load like the nodes behind the scales. Without graph optimization both
 * stay: MatMulNBits (ONNX Runtime 1.30, accuracy level 4) computes wrongly where codes alone are a constant.
 */
function weightBlob(b: Builder, name: string, blocks: Blocks): Value {
  return b.op('Identity', [
    b.constant(name, 'uint8', blobShape(blocks), packUnsigned(blocks.codes, blocks.bits)),
  ]);
}

/** [rows, blocks, bytes of a block] */
export function blobShape({ rows, perRow, size, bits }: Blocks): number[] {
  return [rows, perRow, (size * bits) / 8];
}

function unsupported(groupSize: number): Fault {
  return new Fault({
    code: 'GROUP_TARGET',
    what: `target nbits cannot be written with group ${groupSize}`,
    why: 'MatMulNBits takes blocks of 16, 32, 64 or 128 weights',
    remedy: 'use a group that is a multiple of 16, or channel',
  });
}
