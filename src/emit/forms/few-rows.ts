import type { Builder } from '../../onnx/build.ts';
import { builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import type { Operand, OtherWay } from '../linear-form.ts';
import { saturates } from './saturation.ts';

/** Writes a weight anew, from its codes [out, in] as int8; null where this way is closed. */
export type FewRowsWriter = (
  b: Builder,
  name: string,
  codes: Value,
  weight: QuantizedTensor,
) => OtherWay | null;

/**
 * The sums of `intForm` for few rows, where reading weights is what takes the time: MatMulNBits reads 4 or 2 bits of
 * each where MatMulInteger reads 8. Not for 4 bits on x86 processors without VNNI, where that gains nothing and one token
 * whose weights are in the caches takes longer.
 *
 * At accuracy level 4 it rounds activations to whole multiples of s, the largest magnitude of their block over 127. Here
 * every block begins with a byte of padding in which activations are 127 and weights zero: s is 1, codes stay what they
 * are, the products are of integers, and with weight scales of 1 their sums are exact (in float32, below 2^24: rows of up
 * to 16,000 channels, whatever they hold). Padding in front always leaves the last block short, and so keeps away the
 * KleidiAI kernels of ARM processors, which take s from a whole row.
 */
export function fewRowsWriter(): FewRowsWriter {
  const known = new Map<string, Value>();
  let unsaturated: Value | null = null;
  const gainsHere = (b: Builder): Value =>
    (unsaturated ??= b.op('Not', [saturates(b)], {}, { name: 'gains_here' }));
  return (b, name, codes, { rows, cols, bits }) => {
    const layout = layoutOf(cols, bits);
    if (!layout) return null;
    const { size, blocks } = layout;
    const key = `ones_${rows}_${blocks}`;
    const ones = known.get(key) ?? onesConstant(b, key, [rows, blocks]);
    known.set(key, ones);
    const K = cols + blocks * layout.perByte;
    const blob = weightBlocks(b, name, codes, rows, layout);
    const options = { domain: 'com.microsoft', name };
    const attributes = { K, N: rows, bits: layout.bits, block_size: size, accuracy_level: 4 };
    return {
      when: (inner, areFew) =>
        areFew && (layout.bits === 2 ? areFew : inner.op('And', [areFew, gainsHere(inner)])),
      prepare: (inner, input) => ({ operand: activationBlocks(inner, input, layout), scales: null }),
      product: (inner, { operand }) => inner.op('MatMulNBits', [operand, blob, ones], attributes, options),
    };
  };
}

/** Weight scales, the same for all experts. Constants: for others MatMulNBits computes wrongly without optimization. */
function onesConstant({ graph }: Builder, name: string, [rows, blocks]: [number, number]): Value {
  const ones = new Float32Array(rows * blocks).fill(1);
  return builder(graph, 'moeq').constant(name, 'float32', [rows, blocks], ones);
}

interface Layout {
  /** As stored. */
  bits: 2 | 4;
  /** Codes in a byte, and the length of the padding in front of every block. */
  perByte: number;
  /** Codes in a block: the largest, and fastest, that MatMulNBits has a kernel for. */
  size: 128 | 256;
  /** Blocks in a row, the last of them short. */
  blocks: number;
  /** Codes in a row. */
  cols: number;
}

function layoutOf(cols: number, bits: QuantizedTensor['bits']): Layout | null {
  if (bits === 8) return null;
  const stored = bits === 2 ? 2 : 4;
  const perByte = 8 / stored;
  if (cols % perByte !== 0) return null;
  const size = stored === 2 ? 128 : 256;
  return { bits: stored, perByte, size, blocks: Math.floor(cols / (size - perByte)) + 1, cols };
}

/** The blob of MatMulNBits, [rows, blocks, bytes], by nodes that ONNX Runtime folds when it loads the model. */
function weightBlocks(b: Builder, name: string, codes: Value, rows: number, layout: Layout): Value {
  const { bits, perByte, size, cols } = layout;
  const zero = 2 ** (bits - 1);
  const width = cols / perByte;
  const places = Array.from({ length: perByte }, (_, i) => 2 ** (bits * i));
  const one = b.constant('one', 'float32', [], [1]);
  // Places of a byte times the codes in it, which the zero point makes unsigned: takes less memory than shifting bits.
  const inputs = [
    b.constant('places', 'uint8', [1, perByte], places),
    one,
    b.constant('zero', 'uint8', [], [0]),
    b.op('Transpose', [b.op('Reshape', [codes, b.ints([rows, width, perByte])])], { perm: [0, 2, 1] }),
    one,
    b.constant('zero', 'int8', [], [-zero]),
    one,
    b.constant('zero', 'uint8', [], [0]),
  ];
  const bytes = b.op('QLinearMatMul', inputs, {}, { name: `${name}/bytes` });
  const zeros = places.reduce((byte, place) => byte + zero * place, 0);
  const sizes = { ...layout, width, block: size / perByte, lead: 1, fill: zeros, padding: zeros };
  return blocked(b, bytes, sizes, `${name}/blob`);
}

/** uint8 codes [n, cols] in blocks, as float32 codes around zero [n, cols and padding]. */
function activationBlocks(b: Builder, { operand, zeroCode }: Operand, layout: Layout): Value {
  const { perByte, size, blocks, cols } = layout;
  const zero = zeroCode!;
  const sizes = { ...layout, width: cols, block: size, lead: perByte, fill: zero, padding: zero + 127 };
  const whole = b.op('Reshape', [blocked(b, operand, sizes, 'blocks'), b.ints([0, blocks * size])]);
  const codes = b.op('Slice', [whole, b.ints([0]), b.ints([cols + blocks * perByte]), b.ints([1])]);
  const zeroPoint = b.constant('zero_point', 'uint8', [], [zero]);
  return b.op('DequantizeLinear', [codes, b.constant('one', 'float32', [], [1]), zeroPoint]);
}

interface Blocking {
  /** Bytes in a row. */
  width: number;
  blocks: number;
  /** Bytes in a block, with `lead` bytes of padding in front. */
  block: number;
  lead: number;
  /** What follows a row up to the end of its last block, and what stands in front of a block. */
  fill: number;
  padding: number;
}

/** uint8 rows [n, width] (or [n, 1, width]) as [n, blocks, block]. */
function blocked(
  b: Builder,
  rows: Value,
  { width, blocks, block, lead, fill, padding }: Blocking,
  name: string,
): Value {
  const byte = (value: number): Value => b.constant('byte', 'uint8', [], [value]);
  const missing = blocks * (block - lead) - width;
  const filled = b.op('Pad', [rows, b.ints([0, missing]), byte(fill), b.ints([-1])]);
  const cut = b.op('Reshape', [filled, b.ints([0, blocks, block - lead])]);
  return b.op('Pad', [cut, b.ints([lead, 0]), byte(padding), b.ints([-1])], {}, { name });
}
