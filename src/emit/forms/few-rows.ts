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
 * the first of every block is 127: s is 1, codes stay what they are, the products are of integers, and with weight scales of
 * 1 their sums are exact (in float32, below 2^24: whatever rows of up to 8,800 channels hold). What the first channels lack,
 * one in 256, is multiplied apart, for all experts at once. Zero points, although they are the usual ones, keep away the KleidiAI
 * kernels of ARM processors, which round by whole rows.
 */
export function fewRowsWriter(): FewRowsWriter {
  const filled = filledConstants();
  let unsaturated: Value | null = null;
  const gainsHere = (b: Builder): Value =>
    (unsaturated ??= b.op('Not', [saturates(b)], {}, { name: 'gains_here' }));
  return (b, name, codes, weight) => {
    const layout = layoutOf(weight);
    if (!layout) return null;
    const { rows, cols } = weight;
    const { bits, perByte, size, blocks } = layout;
    const blob = weightBlocks(b, name, codes, rows, layout);
    const ones = filled(b, 'ones', 'float32', [rows, blocks], 1);
    const zeros = filled(b, `zeros${bits}`, 'uint8', [rows, Math.ceil(blocks / perByte)], layout.zeros);
    const options = { domain: 'com.microsoft', name };
    const attributes = { K: cols, N: rows, bits, block_size: size, accuracy_level: 4 };
    return {
      when: (inner, areFew) => areFew && (bits === 2 ? areFew : inner.op('And', [areFew, gainsHere(inner)])),
      prepare: (inner, input) => setApart(inner, input, layout),
      product: (inner, { operand }) =>
        inner.op('MatMulNBits', [operand, blob, ones, zeros], attributes, options),
      apart: firstCodes(weight, layout),
    };
  };
}

/** Matrices of one number, the same for all experts. Constants: for others MatMulNBits computes wrongly without optimization. */
function filledConstants() {
  const known = new Map<string, Value>();
  return (
    { graph }: Builder,
    part: string,
    dtype: 'float32' | 'uint8',
    shape: [number, number],
    value: number,
  ): Value => {
    const name = [part, ...shape].join('_');
    const found = known.get(name);
    if (found) return found;
    const values = Array<number>(shape[0] * shape[1]).fill(value);
    const constant = builder(graph, 'moeq').constant(name, dtype, shape, values);
    known.set(name, constant);
    return constant;
  };
}

interface Layout {
  /** As stored. */
  bits: 2 | 4;
  /** Codes in a byte. */
  perByte: number;
  /** A byte of zeros. */
  zeros: number;
  /** Codes in a block: the largest, and fastest, that MatMulNBits has a kernel for. */
  size: 128 | 256;
  /** Blocks in a row, the last of them may be short. */
  blocks: number;
  /** Codes in a row. */
  cols: number;
}

function layoutOf({ cols, bits }: QuantizedTensor): Layout | null {
  if (bits === 8) return null;
  const stored = bits === 2 ? 2 : 4;
  const perByte = 8 / stored;
  if (cols % perByte !== 0) return null;
  const size = stored === 2 ? 128 : 256;
  const zeros = stored === 2 ? 0xaa : 0x88;
  return { bits: stored, perByte, zeros, size, blocks: Math.ceil(cols / size), cols };
}

/** The codes of the first channel of every block, [blocks, rows]. */
function firstCodes({ rows, cols, codes }: QuantizedTensor, { size, blocks }: Layout): Int8Array {
  return Int8Array.from(
    { length: blocks * rows },
    (_, i) => codes[(i % rows) * cols + Math.floor(i / rows) * size],
  );
}

/** The blob of MatMulNBits, [rows, blocks, bytes], by nodes that ONNX Runtime folds when it loads the model. */
function weightBlocks(b: Builder, name: string, codes: Value, rows: number, layout: Layout): Value {
  const { bits, perByte, zeros, size, blocks, cols } = layout;
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
  const missing = b.ints([0, (blocks * size) / perByte - width]);
  const whole = b.op('Pad', [bytes, missing, b.constant('zeros', 'uint8', [], [zeros]), b.ints([-1])]);
  return b.op('Reshape', [whole, b.ints([rows, blocks, size / perByte])], {}, { name: `${name}/blob` });
}

/** Codes around zero in float32, [n, cols], with 127 for the first of each block; apart from them what that lacks. */
function setApart(b: Builder, { operand, zeroCode }: Operand, { size, blocks, cols }: Layout): Operand {
  const largest = b.constant('largest', 'uint8', [], [zeroCode! + 127]);
  const zeroPoint = b.constant('zero_point', 'uint8', [], [zeroCode!]);
  const one = b.constant('one', 'float32', [], [1]);
  const isFirst = Array.from({ length: cols }, (_, i) => Number(i % size === 0));
  const codes = b.op('Where', [b.constant('is_first', 'bool', [cols], isFirst), largest, operand]);
  const first = b.op('Slice', [operand, b.ints([0]), b.ints([cols]), b.ints([1]), b.ints([size])]);
  const lacking = b.op('DequantizeLinear', [first, one, largest]);
  const apart = b.op('Reshape', [lacking, b.ints([-1, 1, blocks])], {}, { name: 'apart' });
  return { operand: b.op('DequantizeLinear', [codes, one, zeroPoint]), scales: null, apart };
}
