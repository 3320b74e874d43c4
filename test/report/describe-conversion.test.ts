import { expect, test } from 'vitest';
import { describeConversion } from '../../src/report/describe-conversion.ts';
import { buildReport } from './helpers/build-report.ts';

test('a conversion that was not verified tells what was written, how it runs, and its notes', () => {
  const { execution, census } = buildReport();
  const text = describeConversion({
    output: 'out.onnx',
    scheme: 'w4a4',
    bytes: { before: 4e6, after: 1e6 },
    expertBitsPerWeight: 4.25,
    execution,
    census,
    notes: ['data-free: no record was calibrated on'],
    calibration: null,
  });
  expect(text.split('\n').slice(0, 5)).toEqual([
    'out.onnx: w4a4, 4.0 MB to 1.0 MB, 4.25 bits per expert weight',
    'executed by ONNX Runtime (cpu) in the int form; weights int4, activations uint8 codes of 4 bits',
    'Not verified: give --report or gates to measure routing and accuracy.',
    'note  data-free: no record was calibrated on',
    '',
  ]);
});
