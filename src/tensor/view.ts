import { decodeNumbers } from './decode.ts';
import { byteLengthOf } from './dtype.ts';
import type { Matrix } from './matrix.ts';
import { matrix } from './matrix.ts';
import type { TensorSource } from './source.ts';
import { giveBuffer, takeBuffer } from './spare-buffers.ts';

/**
 * A [rows, cols] window on a stored tensor, as element offset and strides. One record covers every way a linear
 * weight is stored: transposed, a slice of a 3-D stack, a half of a fused gate/up tensor, or its even rows.
 */
export interface MatrixView {
  source: TensorSource;
  rows: number;
  cols: number;
  /** In elements. */
  offset: number;
  rowStride: number;
  colStride: number;
}

/** A vector is a view of one row. */
export function vectorView(source: TensorSource, length: number, offset = 0, stride = 1): MatrixView {
  return { source, rows: 1, cols: length, offset, rowStride: length * stride, colStride: stride };
}

/**
 * Reads a view as float32. Only the bytes between its first and its last element are read.
 * @throws Fault TENSOR_DTYPE for an element type that holds no plain numbers
 */
export function readMatrix(view: MatrixView): Matrix {
  const { rows, cols, rowStride, colStride } = view;
  const span = (rows - 1) * rowStride + (cols - 1) * colStride + 1;
  const values = readFloats(view.source, view.offset, rows * cols === 0 ? 0 : span);
  if (colStride === 1 && rowStride === cols) return matrix(rows, cols, values);
  const result = matrix(rows, cols, new Float32Array(takeBuffer(rows * cols * 4)));
  for (let r = 0; r < rows; r++) {
    const from = r * rowStride;
    if (colStride === 1) result.data.set(values.subarray(from, from + cols), r * cols);
    else for (let c = 0; c < cols; c++) result.data[r * cols + c] = values[from + c * colStride]!;
  }
  giveBuffer(values);
  return result;
}

/** Reads a one-row view as float32. */
export function readVector(view: MatrixView): Float32Array {
  return readMatrix(view).data;
}

/**
 * Elements `start … start + count` of a tensor as float32; whole bytes only (no sub-byte types).
 * @throws Fault TENSOR_DTYPE
 */
export function readFloats(source: TensorSource, start = 0, count?: number): Float32Array<ArrayBuffer> {
  const width = byteLengthOf(source.dtype, 1);
  const length = count ?? source.byteLength / width - start;
  const numbers = decodeNumbers(source.read(start * width, length * width), source.dtype, source.fresh);
  return numbers instanceof Float32Array ? numbers : Float32Array.from(numbers);
}
