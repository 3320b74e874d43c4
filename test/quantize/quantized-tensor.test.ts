import { expect, test } from 'vitest';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';

test('dequantize multiplies codes by the scale of their group', () => {
  const tensor = {
    rows: 2,
    cols: 3,
    bits: 4 as const,
    codes: Int8Array.of(1, -2, 3, 4, 5, -6),
    groupSize: 2,
    scales: Float32Array.of(0.5, 2, 1, 10),
    method: 'rtn',
  };
  expect([...dequantize(tensor).data]).toEqual([0.5, -1, 6, 4, 5, -60]);
});
