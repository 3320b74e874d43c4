/** Element types whose raw form is that of one of JavaScript's arrays, and which one; a bool is 0 or 1 in it. */
export const arrayClasses = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  bool: Uint8Array,
} as const;

export type ArrayType = keyof typeof arrayClasses;

export function hasArrayClass(dtype: string): dtype is ArrayType {
  return Object.hasOwn(arrayClasses, dtype);
}
