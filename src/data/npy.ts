import { Fault } from '../fault.ts';
import { countOf } from '../tensor/dtype.ts';
import { bytesPerElement, fromBytes, type NumericArray, type NumericType } from './numeric-array.ts';

const types: Record<string, NumericType> = {
  '|b1': 'bool',
  '|i1': 'int8',
  '|u1': 'uint8',
  '<i2': 'int16',
  '<u2': 'uint16',
  '<i4': 'int32',
  '<u4': 'uint32',
  '<i8': 'int64',
  '<u8': 'uint64',
  '<f2': 'float16',
  '<f4': 'float32',
  '<f8': 'float64',
};

/**
 * Reads a NumPy `.npy` array: format 1 to 3, little-endian, C order, any fixed-width number or bool.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 * @param where names the array in Faults.
 * @throws Fault DATA_NPY for anything else.
 */
export function parseNpy(bytes: Uint8Array, where: string): NumericArray {
  const { header, dataOffset } = readHeader(bytes, where);
  const descriptor = match(header, /'descr':\s*'([^']+)'/, where);
  const order = match(header, /'fortran_order':\s*(True|False)/, where);
  const shape = match(header, /'shape':\s*\(([\d\s,]*)\)/, where)
    .split(',')
    .filter((dim) => dim.trim() !== '')
    .map(Number);
  const dtype = types[descriptor];
  if (!dtype)
    throw fault(where, `the element type ${descriptor} is not supported`, 'save a little-endian number type');
  if (order === 'True' && shape.length > 1) {
    throw fault(where, 'the array is stored in Fortran order', 'save numpy.ascontiguousarray(array)');
  }
  const length = countOf(shape) * bytesPerElement(dtype);
  const data = bytes.subarray(dataOffset, dataOffset + length);
  if (data.length !== length) throw fault(where, `the array ends after ${data.length} of ${length} bytes`);
  return { dtype, shape, data: fromBytes(dtype, data) };
}

function readHeader(bytes: Uint8Array, where: string): { header: string; dataOffset: number } {
  const magic = String.fromCharCode(...bytes.subarray(0, 6));
  if (magic !== '\x93NUMPY' || bytes.length < 12) throw fault(where, 'this is no .npy array');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const longLength = bytes[6] >= 2;
  const length = longLength ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = longLength ? 12 : 10;
  return {
    header: new TextDecoder().decode(bytes.subarray(start, start + length)),
    dataOffset: start + length,
  };
}

function match(header: string, pattern: RegExp, where: string): string {
  const found = pattern.exec(header)?.[1];
  if (found === undefined) throw fault(where, `the header is not understood: ${header.trim()}`);
  return found;
}

function fault(where: string, what: string, remedy = 'write the file with numpy.savez'): Fault {
  return new Fault({ code: 'DATA_NPY', what, where, remedy });
}
