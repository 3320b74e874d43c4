import { bytesOf } from '../tensor/encode.ts';
import { takeBuffer } from '../tensor/spare-buffers.ts';
import { chunkBytes, inputsAtOnce, lanes, places, vectorKernels } from './vector-kernels.ts';

/** Whether groups of a row of `cols` weights are whole vectors; other groups are for a loop in JavaScript. */
export function fitsVectors(cols: number, groupSize: number): boolean {
  return groupSize % lanes === 0 && cols % groupSize === 0 && cols * 4 <= chunkBytes;
}

/** Groups of weights a chunk holds. */
function* chunksOf(count: number, groupSize: number): Generator<{ from: number; to: number }> {
  const step = Math.floor(chunkBytes / (groupSize * 4));
  for (let from = 0; from < count; from += step) yield { from, to: Math.min(from + step, count) };
}

/** Takes part of an array to where kernels find it. */
function bring(place: number, part: Float32Array | Int8Array): void {
  new Uint8Array(vectorKernels().memory, place).set(bytesOf(part));
}

/** Bits of the largest magnitude of every group, [groups]. */
export function largestByVectors(data: Float32Array, groupSize: number): Int32Array<ArrayBuffer> {
  const { memory, call } = vectorKernels();
  const result = new Int32Array(data.length / groupSize);
  for (const { from, to } of chunksOf(result.length, groupSize)) {
    bring(places.data, data.subarray(from * groupSize, to * groupSize));
    call.largest(places.data, places.data + (to - from) * groupSize * 4, groupSize * 4, places.scales);
    result.set(new Int32Array(memory, places.scales, to - from), from);
  }
  return result;
}

/** The nearest codes to weights divided by the scale of their group, ties to even. */
export function roundByVectors(data: Float32Array, scales: Float32Array, groupSize: number): Int8Array {
  const { memory, call } = vectorKernels();
  const codes = new Int8Array(takeBuffer(data.length));
  for (const { from, to } of chunksOf(scales.length, groupSize)) {
    const [start, count] = [from * groupSize, (to - from) * groupSize];
    bring(places.data, data.subarray(start, start + count));
    bring(places.scales, scales.subarray(from, to));
    call.round(places.data, places.data + count * 4, groupSize * 4, places.scales, places.codes);
    codes.set(new Int8Array(memory, places.codes, count), start);
  }
  return codes;
}

/** Up to three inputs [cols] times a weight of codes [rows, cols], in float64, [rows, inputs]. */
export function multiplyByVectors(
  inputs: readonly Float32Array[],
  { codes, scales }: { codes: Int8Array; scales: Float32Array },
  groupSize: number,
): Float64Array {
  const { memory, call } = vectorKernels();
  const cols = inputs[0].length;
  const [rows, perRow] = [codes.length / cols, cols / groupSize];
  const result = new Float64Array(rows * inputs.length);
  new Float64Array(memory, places.x).set(inFours(inputs));
  for (let r = 0; r < rows; r++) {
    bring(places.codes, codes.subarray(r * cols, (r + 1) * cols));
    bring(places.scales, scales.subarray(r * perRow, (r + 1) * perRow));
    const { codes: from, scales: scale, x, sums } = places;
    call.multiply(from, from + cols, groupSize, scale, x, sums);
    result.set(new Float64Array(memory, sums, inputs.length), r * inputs.length);
  }
  return result;
}

/** Four numbers of each input in turn, zeros for inputs that are not there. */
function inFours(inputs: readonly Float32Array[]): Float64Array {
  const cols = inputs[0].length;
  const result = new Float64Array(inputsAtOnce * cols);
  inputs.forEach((input, i) => {
    for (let c = 0; c < cols; c++) result[((c >> 2) * inputsAtOnce + i) * 4 + (c & 3)] = input[c];
  });
  return result;
}
