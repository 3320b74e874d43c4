import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import type { RunTensor } from '../../src/runtime/session.ts';
import { openSession } from '../../src/runtime/session.ts';
import { threadsOf } from '../../src/runtime/threads-of.ts';
import { makeModel } from '../helpers/make-model.ts';

/** x · (1 / s) behind two casts that change nothing, which breaks an optimizer of ONNX Runtime 1.30. */
const twiceCast = makeModel({ x: ['float32', ['n']], s: ['float32', ['n']] }, (b, x, s) => {
  const cast = b.cast(b.cast(x, 'float32'), 'float32');
  return { y: b.op('Mul', [cast, b.op('Div', [b.constant('one', 'float32', [], [1]), s])]) };
});

function floats(...values: number[]): RunTensor {
  return { dtype: 'float32', dims: [values.length], data: Float32Array.from(values) };
}

test('a model that an optimizer breaks is loaded without it, unless a level was asked for', async () => {
  await expect(openSession(twiceCast, { optimization: 'all' })).rejects.toMatchObject({ code: 'ORT_LOAD' });
  const session = await openSession(twiceCast);
  const { y } = await session.run({ x: floats(3, 8), s: floats(2, 4) });
  await session.release();
  expect(y.data).toEqual(Float32Array.of(1.5, 2));
});

test('no more threads are taken than there are cores', () => {
  const cores = availableParallelism();
  expect(['auto' as const, 1, cores + 1, 1e9].map(threadsOf)).toEqual([cores, 1, cores, cores]);
});
