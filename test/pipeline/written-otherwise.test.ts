import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { builder } from '../../src/onnx/build.ts';
import { allNodes } from '../../src/onnx/graph.ts';
import type { Model } from '../../src/onnx/model.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { tensorInfo } from '../../src/onnx/tensor-info.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import type { ConversionResult } from '../../src/pipeline/convert.ts';
import { convert } from '../../src/pipeline/convert.ts';
import { bundledModel, calibrationData, configFrom } from '../helpers/bundled.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-otherwise-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The same function, as another exporter might write it. */
const ways: Record<string, (model: Model) => void> = {
  'nodes have no names': ({ graph }) => {
    for (const node of allNodes(graph)) node.proto.name = '';
  },
  'initializers are inputs too': ({ graph }) => {
    for (const value of graph.constants) {
      const { dtype, shape } = value.tensor!.source;
      const info = tensorInfo(value.name, dtype, shape.length);
      info.type!.tensorType!.shape!.dim = shape.map((dimValue) => ({ dimValue }));
      value.info = info;
      graph.inputs.push(value);
    }
  },
  'gains of norms are cast': ({ graph, path }) => {
    const b = builder(graph, 'otherwise');
    const names = prepareModel(path).layers.map(
      ({ norm }) => norm!.scale!.node.inputs[norm!.scale!.input]!.name,
    );
    for (const name of names) {
      const value = [...graph.constants].find((each) => each.name === name)!;
      const { node, index } = value.uses[0];
      node.setInput(index, b.op('Cast', [b.op('Cast', [value], { to: 11 })], { to: 1 }));
    }
  },
};

async function converted(model: string, name: string): Promise<ConversionResult> {
  const settings = [`data=${calibrationData}`, 'calibration.records=8', 'scheme=w4a8', 'rounding.method=rtn'];
  const config = configFrom(...settings, 'calibration.affinity=false', 'calibration.balance.enabled=false');
  const output = join(folder, `${name}.quantized.onnx`);
  return convert({ model, output, config, reportFolder: join(folder, name), force: false }, () => {});
}

let expected: ConversionResult;
beforeAll(async () => {
  expected = await converted(bundledModel('loop.dyn'), 'expected');
});

test.each(Object.keys(ways))('a model is converted and verified alike where %s', async (way) => {
  const path = join(folder, `${way}.onnx`);
  const model = openModel(bundledModel('loop.dyn'));
  ways[way](model);
  writeModel(model, path);
  const { bytes, report } = await converted(path, way);
  expect(bytes.after / expected.bytes.after).toBeCloseTo(1, 1);
  expect(report!.output.kl).toBeCloseTo(expected.report!.output.kl, 5);
  expect(report!.output.perplexity!.reference).toBeCloseTo(expected.report!.output.perplexity!.reference, 3);
});
