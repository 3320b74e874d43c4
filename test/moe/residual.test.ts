import { expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import { makeModel } from '../helpers/make-model.ts';
import { choose, hidden, logits, maskedExperts, norm, scalar, weight } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

const streams = 4;
const width = streams * hidden;

/** A layer that reads a mix of several streams and adds to each of them a share of what it gives (hyper-connections). */
function hyperLayer(b: Builder, stream: Value): Value {
  const gates = b.op('Sigmoid', [b.op('MatMul', [stream, weight(b, 'gates', [width, width])])]);
  const apart = b.op('Reshape', [b.op('Mul', [stream, gates]), b.ints([0, 0, streams, hidden])]);
  const x = norm(b, b.op('ReduceMean', [apart, b.ints([2])], { keepdims: 0 }));
  const output = b.op('Unsqueeze', [maskedExperts(b, x, choose(b, logits(b, x))), b.ints([2])]);
  const shares = b.op('Mul', [output, weight(b, 'shares', [streams, 1])]);
  return b.op('Add', [stream, b.op('Reshape', [shares, b.ints([0, 0, width])])]);
}

it('the residual may hold several streams side by side', async () => {
  const model = makeModel({ x: ['float32', ['batch', 'sequence', width]] }, (b, stream) => ({
    y: hyperLayer(b, b.op('Mul', [hyperLayer(b, stream), scalar(b, 0.5)])),
  }));
  const { layers } = locate(model);
  expect(layers).toHaveLength(2);
  for (const layer of layers) {
    expect(layer).toMatchObject({ quantizable: true, reason: '' });
    const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  }
});
