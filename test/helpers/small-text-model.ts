import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { gaussian, uniform } from '../quantize/random.ts';
import { declared, makeModel } from './make-model.ts';

const vocabulary = 64;

/**
 * Writes a text model of two MoE layers with random weights into a folder, and records of tokens for it: starting,
 * running and comparing it takes little, and searching scales for its 800,000 weights (or more) takes a while.
 */
export function smallTextModel(folder: string, hidden = 128): { model: string; records: string } {
  const [model, records] = [join(folder, 'small.onnx'), join(folder, 'records.jsonl')];
  const random = uniform(1);
  const ids = (): number[] => Array.from({ length: 32 }, () => Math.floor(random() * vocabulary));
  const lines = Array.from({ length: 8 }, () => JSON.stringify({ inputs: { input_ids: [ids()] } }));
  writeFileSync(records, lines.join('\n'));
  writeModel(deepModel({ layers: 2, experts: 4, hidden, intermediate: 2 * hidden }), model);
  return { model, records };
}

/** Sizes of a model. */
interface Sizes {
  layers: number;
  experts: number;
  hidden: number;
  intermediate: number;
}

/** A text model with random weights whose layers are MoE layers alone, one `com.microsoft.MoE` each. */
export function deepModel(sizes: Sizes): Model {
  const { layers, hidden } = sizes;
  const model = makeModel({ input_ids: ['int64', ['batch', 'sequence']] }, (b, tokens) => {
    let states = b.op('Gather', [weight(b, 'embedding', [vocabulary, hidden]), tokens]);
    for (let layer = 0; layer < layers; layer++) states = addLayer(b, states, `layers.${layer}`, sizes);
    const logits = b.op('MatMul', [states, weight(b, 'head', [hidden, vocabulary])]);
    logits.info = declared('logits', 'float32', ['batch', 'sequence', vocabulary]).info;
    return { logits };
  });
  model.opsets.set('com.microsoft', 1);
  return model;
}

function addLayer(b: Builder, stream: Value, name: string, { experts, hidden, intermediate }: Sizes): Value {
  const rows = b.op('Reshape', [stream, b.ints([-1, hidden])]);
  const logits = b.op('MatMul', [rows, weight(b, `${name}.router`, [hidden, experts])]);
  const fc1 = weight(b, `${name}.fc1`, [experts, 2 * intermediate, hidden]);
  const fc2 = weight(b, `${name}.fc2`, [experts, hidden, intermediate]);
  const attributes = { k: 2, activation_type: 'swiglu', swiglu_fusion: 2 };
  const sum = b.op('MoE', [rows, logits, fc1, null, fc2], attributes, { domain: 'com.microsoft' });
  return b.op('Add', [stream, b.op('Reshape', [sum, b.op('Shape', [stream])])]);
}

/** Normal numbers that keep the size of what they multiply; the seed is the name's length. */
function weight(b: Builder, name: string, shape: number[]): Value {
  const count = shape.reduce((product, dim) => product * dim, 1);
  const { data } = gaussian(1, count, name.length);
  return b.constant(
    name,
    'float32',
    shape,
    data.map((value) => value / Math.sqrt(shape.at(-1)!)),
  );
}
