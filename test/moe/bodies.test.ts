import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { declared, makeModel } from '../helpers/make-model.ts';
import { choose, expert, experts, hidden, logits, maskedLayer, norm, shareOf, sum } from './helpers/parts.ts';

const tokens = ['float32', ['batch', 'sequence', hidden]] as const;

/** Both branches hold the layer, as in the decoders that Optimum merges. */
function mergedDecoder(): Model {
  return makeModel({ x: tokens, use_cache: ['bool', []] }, (b, x, useCache) => {
    const branch = (name: string) => b.subgraph(name, (inner) => [maskedLayer(inner, x)]);
    return { y: b.op('If', [useCache], { then_branch: branch('past'), else_branch: branch('no_past') }) };
  });
}

/** The layer is run over and over, as in a Universal Transformer. */
function loopedLayer(): Model {
  return makeModel({ x: tokens, trips: ['int64', []] }, (b, x, trips) => {
    const body = b.subgraph('body', (inner) => {
      inner.graph.addInput('step', 'int64', 0);
      const going = inner.graph.addInput('going', 'bool', 0);
      const state = declared('state', 'float32', ['batch', 'sequence', hidden]);
      inner.graph.inputs.push(state);
      return [inner.op('Identity', [going]), maskedLayer(inner, state)];
    });
    return { y: b.op('Loop', [trips, null, x], { body }, { name: 'again' }) };
  });
}

/** Each expert runs only where a token chose it. */
function guardedExperts(): Model {
  return makeModel({ x: tokens }, (b, stream) => {
    const x = norm(b, stream);
    const chosen = choose(b, logits(b, x));
    const outputs = Array.from({ length: experts }, (_, e) => guarded(b, x, shareOf(b, chosen, e), e));
    return { y: b.op('Add', [stream, sum(b, outputs)]) };
  });
}

function guarded(b: Builder, x: Value, share: Value, e: number): Value {
  const isAny = b.op('Greater', [
    b.op('ReduceMax', [share], { keepdims: 0 }),
    b.constant('zero', 'float32', [], [0]),
  ]);
  const branches = {
    then_branch: b.subgraph(`run.${e}`, (inner) => [inner.op('Mul', [expert(inner, x, e), share])]),
    else_branch: b.subgraph(`skip.${e}`, (inner) => [inner.op('Sub', [x, x])]),
  };
  return b.op('If', [isAny], branches, { name: `guard.${e}` });
}

describe('a layer in the body of a node', () => {
  it('is found in both branches, and refused with a reason', () => {
    const { layers } = locate(mergedDecoder());
    expect(layers.map(({ id, experts: { length }, complete }) => [id, length, complete])).toEqual([
      ['L0', experts, true],
      ['L1', experts, true],
    ]);
    for (const layer of layers) {
      expect(layer).toMatchObject({ quantizable: false, boundary: null });
      expect(layer.reason).toMatch(
        /^it stands in the body of the If .*quantize the models it was merged from/,
      );
    }
  });

  it('is refused in a loop too', () => {
    const { layers } = locate(loopedLayer());
    expect(layers.map(({ quantizable, reason }) => [quantizable, reason])).toEqual([
      [false, expect.stringMatching(/in the body of the Loop again.*export the model with it unrolled/)],
    ]);
  });

  it('keeps the model from being quantized', () => {
    expect(faultOf(() => prepareModel(mergedDecoder()))).toMatchObject({
      code: 'MOE_NOT_QUANTIZABLE',
      why: expect.stringContaining('in the body of the If'),
    });
  });
});

it('experts behind guards are not looked into, and it is said so', () => {
  const { layers, rejected } = locate(guardedExperts());
  expect(layers).toEqual([]);
  expect(rejected).toEqual([
    { node: 'MatMul', reason: expect.stringMatching(/what it chooses runs in the body of the If guard\.0/) },
  ]);
});
