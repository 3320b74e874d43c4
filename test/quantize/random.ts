import { matrix, type Matrix } from '../../src/tensor/matrix.ts';

/** A repeatable stream of numbers in [0, 1) (mulberry32). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A repeatable matrix of standard normal numbers. */
export function gaussian(rows: number, cols: number, seed: number): Matrix {
  const next = uniform(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  return matrix(rows, cols, Float32Array.from({ length: rows * cols }, normal));
}
