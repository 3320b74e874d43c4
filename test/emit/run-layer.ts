import type { Model } from '../../src/onnx/model.ts';
import type { Feeds, RunTensor, SessionOptions } from '../../src/runtime/session.ts';
import { openSession, toFloats } from '../../src/runtime/session.ts';
import { encodeNumbers } from '../../src/tensor/encode.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import type { LayerSpec } from '../helpers/synthetic-layer.ts';
import { uniform } from '../quantize/random.ts';

/** Expert → routing weight, for one token. */
export type TokenRoute = ReadonlyMap<number, number>;

/** k experts for each token, with weights; `only` limits them to some experts. */
export function randomRoutes(
  { experts, k }: LayerSpec,
  tokens: number,
  seed = 7,
  only?: number[],
): TokenRoute[] {
  const next = uniform(seed);
  return Array.from({ length: tokens }, () => {
    const pool = only?.slice() ?? Array.from({ length: experts }, (_, e) => e);
    const chosen = Array.from({ length: k }, () => pool.splice(Math.floor(next() * pool.length), 1)[0]);
    // Multiples of 1/16 are the same number in float16.
    return new Map(chosen.map((expert) => [expert, Math.ceil(next() * 16) / 16]));
  });
}

/** What a synthetic model is fed. */
export function feedsOf(
  { dtype, routing, experts, k }: LayerSpec,
  x: Matrix,
  routes: readonly TokenRoute[],
): Feeds {
  const tokens = routes.length;
  const float = (dims: number[], values: ArrayLike<number>): RunTensor =>
    dtype === 'float32'
      ? { dtype, dims, data: Float32Array.from(values) }
      : { dtype, dims, data: new Uint16Array(encodeNumbers(values, dtype).buffer) };
  const feeds: Feeds = { x: float([x.rows, x.cols], x.data) };
  if (routing === 'topk') {
    const indices = routes.flatMap((route) => [...route.keys()].map(BigInt));
    feeds['indices'] = { dtype: 'int64', dims: [tokens, k], data: BigInt64Array.from(indices) };
    feeds['weights'] = float(
      [tokens, k],
      routes.flatMap((route) => [...route.values()]),
    );
    return feeds;
  }
  const weight = (t: number, e: number): number => routes[t].get(e) ?? 0;
  if (routing === 'dense-first')
    feeds['weights'] = float(
      [experts, tokens],
      grid(experts, tokens, (e, t) => weight(t, e)),
    );
  else if (routing === 'dense-last')
    feeds['weights'] = float([tokens, experts], grid(tokens, experts, weight));
  else {
    const slots = grid(tokens, experts, weight).flatMap((value) => [0, value, 0]);
    feeds['weights'] = float([tokens, experts, 3], slots);
  }
  return feeds;
}

function grid(rows: number, cols: number, at: (row: number, col: number) => number): number[] {
  return Array.from({ length: rows * cols }, (_, i) => at(Math.floor(i / cols), i % cols));
}

/** Runs a model once and gives its outputs as float32. */
export async function runOnce(
  model: Model,
  feeds: Feeds,
  options: SessionOptions = {},
): Promise<Record<string, { dims: readonly number[]; data: Float32Array }>> {
  const session = await openSession(model, { threads: 1, ...options });
  try {
    const results = await session.run(feeds);
    return Object.fromEntries(
      Object.entries(results).map(([name, tensor]) => [name, { dims: tensor.dims, data: toFloats(tensor) }]),
    );
  } finally {
    await session.release();
  }
}
