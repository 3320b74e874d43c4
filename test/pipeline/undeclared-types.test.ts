import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { builder } from '../../src/onnx/build.ts';
import { Graph } from '../../src/onnx/graph.ts';
import { newModel } from '../../src/onnx/model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { openSession } from '../../src/runtime/session.ts';
import { encodeNumbers } from '../../src/tensor/encode.ts';
import { configFrom, dataFree } from '../helpers/bundled.ts';
import { declared } from '../helpers/make-model.ts';
import { gaussian } from '../quantize/random.ts';

const [hidden, experts] = [32, 4];

/** A float16 model that declares nothing between its input and its output. */
function undeclared(): string {
  const graph = new Graph('half');
  const b = builder(graph, '');
  const weight = (name: string, ...shape: number[]): Value => {
    const { data } = gaussian(
      shape.reduce((product, dim) => product * dim, 1),
      1,
      1,
    );
    return b.constant(name, 'float16', shape, encodeNumbers(data, 'float16'));
  };
  const x = declared('x', 'float16', ['tokens', hidden]);
  graph.inputs = [x];
  const rows = b.op('Reshape', [x, b.ints([-1, hidden])]);
  const logits = b.op('MatMul', [rows, weight('router', hidden, experts)]);
  const fc = [weight('fc1', experts, 2 * hidden, hidden), null, weight('fc2', experts, hidden, hidden)];
  const attributes = { k: 2, activation_type: 'swiglu', swiglu_fusion: 1 };
  const sum = b.op('MoE', [rows, logits, ...fc], attributes, { domain: 'com.microsoft' });
  const y = b.op('Add', [x, sum]);
  y.info = declared(y.name, 'float16', ['tokens', hidden]).info;
  graph.outputs = [y];
  const path = join(mkdtempSync(join(tmpdir(), 'moeq-half-')), 'half.onnx');
  writeModel(newModel(graph, { '': 21, 'com.microsoft': 1 }, 10), path);
  return path;
}

test('a layer of float16 hands on float16 though nothing declares it', async () => {
  const { model } = await quantizeModel(undeclared(), null, configFrom('scheme=w4a16', ...dataFree));
  const session = await openSession(model);
  const tokens = new Uint16Array(
    encodeNumbers(Float32Array.from({ length: 2 * hidden }, Math.sin), 'float16').buffer,
  );
  const results = await session.run({ x: { dtype: 'float16', dims: [2, hidden], data: tokens } });
  expect(Object.values(results)[0]).toMatchObject({ dtype: 'float16', dims: [2, hidden] });
  await session.release();
});
