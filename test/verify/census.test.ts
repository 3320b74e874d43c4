import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readModelRecord, writeModelRecord } from '../../src/moe/model-record.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import type { Role } from '../../src/moe/roles.ts';
import { decodeModel, openModel } from '../../src/onnx/open-model.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { inspectModel } from '../../src/pipeline/inspect-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import type { CensusRow } from '../../src/report/report.ts';
import { takeCensus } from '../../src/verify/census.ts';
import { verify } from '../../src/verify/verify.ts';
import { bundledModel, bundledRecords, configFrom, dataFree, evaluationData } from '../helpers/bundled.ts';
import { moveIntoNodes } from '../helpers/in-constant-nodes.ts';
import { root } from '../helpers/run-cli.ts';

const path = bundledModel('batched.dyn');
/** Of the bundled model: 3 layers of 16 experts of 3 linears, 4 projections a layer, one head. */
const weights = { expert: 3 * 16 * 3 * 128 * 64, attention: 3 * 4 * 128 * 128, head: 128 * 128 };
const channels = { expert: 3 * 16 * (2 * 64 + 128), attention: 3 * 4 * 128, head: 128 };
/** Of the rotary embedding, which no linear multiplies with. */
const frequencies = 64;

async function written(...settings: string[]) {
  const { model } = await quantizeModel(path, null, configFrom(...dataFree, ...settings));
  return decodeModel(encodeModel(model), 'written.onnx');
}

function row(rows: readonly CensusRow[], role: Role): CensusRow {
  return rows.find((each) => each.role === role)!;
}

test.each([
  ['w4a4', 'int', 4, 2],
  ['w8a8', 'int', 8, 2],
  ['w4a4', 'qdq', 4, 2],
  ['w4a16', 'nbits', 4, 2],
  ['w4a16', 'qmoe', 4, 2],
] as const)(
  '%s %s: codes and scales are all that expert weights take',
  async (scheme, target, bits, scaleBytes) => {
    const census = takeCensus(prepareModel(path), await written(`scheme=${scheme}`, `target=${target}`));
    const bytes = (weights.expert * bits) / 8 + channels.expert * scaleBytes;
    expect(row(census.rows, 'expert')).toEqual({
      role: 'expert',
      quantizedBytes: bytes,
      keptBytes: 0,
      refused: [],
    });
    expect(census.expertBitsPerWeight).toBeCloseTo((bytes * 8) / weights.expert, 10);
    const { quantizedBytes, keptBytes } = row(census.rows, 'attention');
    expect([quantizedBytes, keptBytes]).toEqual([0, weights.attention * 4 + frequencies]);
  },
);

test.each(['nbits', 'qmoe'] as const)('biases of experts are kept by them, as %s', async (target) => {
  const graph = join(root, 'test/fixtures/graphs/out5.gpt_oss.batched_mm.ts.onnx');
  const config = configFrom(...dataFree, 'scheme=w4a16', `target=${target}`, 'group=32');
  const { model } = await quantizeModel(graph, null, config);
  const reference = prepareModel(graph);
  const biases = reference.layers.flatMap(({ experts, hidden, intermediate }) =>
    experts.map(() => 2 * intermediate + hidden),
  );
  const { rows } = takeCensus(reference, decodeModel(encodeModel(model), 'written.onnx'));
  expect(row(rows, 'expert').keptBytes).toBe(4 * biases.reduce((sum, count) => sum + count, 0));
});

test.each([
  ['w8a8', 'int', 8, 2],
  ['w4a16', 'int', 4, 2],
  ['w4a8', 'qdq', 4, 2],
] as const)('dense %s beside target %s is counted as quantized', async (dense, target, bits, scaleBytes) => {
  const model = await written(`target=${target}`, `dense.scheme=${dense}`);
  const { rows } = takeCensus(prepareModel(path), model);
  for (const role of ['attention', 'head'] as const) {
    expect(row(rows, role)).toMatchObject({
      quantizedBytes: (weights[role] * bits) / 8 + channels[role] * scaleBytes,
      keptBytes: role === 'attention' ? frequencies : 0,
      refused: [],
    });
  }
});

test('what could not be quantized is listed under its role, also when the file is read again', async () => {
  const model = await written('dense.scheme=w8a8');
  const record = readModelRecord(model)!;
  expect(record.refused).toEqual([]);
  const refusal = { tensor: 'narrow', role: 'shared', reason: 'it is only 128 by 1' } as const;
  writeModelRecord(model, { ...record, refused: [refusal] });
  const { rows } = takeCensus(prepareModel(path), decodeModel(encodeModel(model), 'written.onnx'));
  expect(row(rows, 'shared').refused).toEqual([{ tensor: 'narrow', reason: 'it is only 128 by 1' }]);
  expect(row(rows, 'attention').refused).toEqual([]);
});

test('weights that stand in Constant nodes count as initializers do', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'moeq-census-'));
  const other = join(folder, 'nodes.onnx');
  const model = openModel(path);
  moveIntoNodes(model);
  writeModel(model, other);
  const [first, second] = [path, other].map((each) => inspectModel(each, { explain: false }));
  expect(second.sizes).toEqual(first.sizes);
  expect(second.model.parameters).toBe(first.model.parameters);
  const { model: quantized } = await quantizeModel(other, null, configFrom(...dataFree));
  expect(takeCensus(prepareModel(other), quantized)).toEqual(takeCensus(prepareModel(path), await written()));
  const [record] = bundledRecords(evaluationData, 1);
  const { reference } = await verify(other, other, [record], { attribution: false });
  expect(reference.parameters).toBe(first.model.parameters);
  rmSync(folder, { recursive: true });
});
