import { stripVTControlCharacters, styleText } from 'node:util';
import { expect, test } from 'vitest';
import { executionOf } from '../../src/emit/execution-of.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import { evaluateGates } from '../../src/report/gates/gates.ts';
import type { Report } from '../../src/report/report.ts';
import { summarize } from '../../src/report/summarize.ts';
import type { Paint } from '../../src/report/terminal-table.ts';
import { buildReport } from './helpers/build-report.ts';

const ansi: Paint = (tone, text) =>
  styleText(tone === 'bad' ? 'red' : 'dim', text, { validateStream: false });

test('the verdict and the culprit come first', () => {
  const report = withBadExpert();
  report.gates = evaluateGates(report, { min: { 'expert.sqnrDb': 10, topKAgreement: 0.5 }, max: {} });
  const lines = summarize(report).split('\n');
  expect(lines[0]).toBe('1 of 2 gates failed');
  expect(lines[1]).toMatch(/^ {2}FAILED {2}expert\.sqnrDb is 4\.2 in L1 expert 3, at least 10 is asked for/);
  expect(lines.slice(0, 5).join('\n')).toMatch(/look at L1 expert 3: far from the reference \(SQNR 4\.2 dB/);
});

test('layers, tasks, sizes and refusals are told', () => {
  const text = summarize(buildReport());
  expect(text).toMatch(/^No gate was asked for\n/);
  expect(text).toMatch(/\nL1 +16 +0 +[\d,]+ +[\d,]+ +1 +1 +0\.9\d+ +0\.9\d+ +1\d\.\d\n/);
  expect(text).toMatch(/\nadd +95 +0\.\d{4} +0\.\d{4} +-?0\.\d{4}\n/);
  expect(text).toContain('5.6 MB -> 1.1 MB, 5.08 times smaller, experts 4.25 bits a weight');
  expect(text).toContain('head: 1 refused, it is tied to the embedding <embed_tokens> (lm_head.weight)');
  expect(text).toContain('executed by ONNX Runtime (cpu) in the int form');
});

test.each([
  ['nbits', 'w4a4', 'emulated, not executed: the nbits form computes in float'],
  ['nbits', 'w4a16', 'weights stored in few bits, run by ONNX Runtime (cpu) in the nbits form'],
  ['qdq', 'ternary', 'weights stored in few bits, run by ONNX Runtime (cpu) in the qdq form'],
] as const)('a form is called emulated where its activations are: %s of %s', (target, scheme, text) => {
  const execution = executionOf(resolveTarget({ scheme, target }));
  expect(summarize({ ...buildReport(), execution })).toContain(text);
});

test.each([
  ['small', buildReport()],
  ['large', buildReport({ layers: 48, experts: 128, topK: 8 })],
  ['long names', withLongNames()],
  ['nothing optional', buildReport({ complete: false, tasks: [] })],
  ['without MoE layers', { ...buildReport({ complete: false }), layers: [], census: [] }],
])('fits 100 columns, in colour too: %s', (_, report) => {
  const plain = summarize(report);
  expect(plain.split('\n').filter((line) => line.length > 100)).toEqual([]);
  expect(stripVTControlCharacters(summarize(report, ansi))).toBe(plain);
});

function withBadExpert(): Report {
  const report = buildReport();
  report.layers[1].experts[3].sqnrDb = 4.2;
  return report;
}

function withLongNames(): Report {
  const report = buildReport();
  const long = `/models/${'very-long-name-'.repeat(20)}.onnx`;
  const [first, ...rest] = report.layers;
  return {
    ...report,
    reference: { ...report.reference, path: long },
    tasks: { [long]: report.tasks.add },
    layers: [{ ...first, id: long }, ...rest],
    census: [
      { role: 'head', quantizedBytes: 1, keptBytes: 2, refused: [{ tensor: long, reason: 'it is long' }] },
    ],
  };
}
