import type { Matrix } from '../tensor/matrix.ts';
import { readMatrix, readVector } from '../tensor/view.ts';
import type { Expert, Linear } from './moe-layer.ts';

/** A linear's numbers: weight [out, in], bias [out]. */
export interface LinearWeights {
  weight: Matrix;
  bias: Float32Array | null;
}

/** The numbers of one expert; `gate` is null where there is none. */
export interface ExpertWeights {
  readonly gate: LinearWeights | null;
  readonly up: LinearWeights;
  readonly down: LinearWeights;
}

/** One expert's weights. Each linear is read from the file when it is first looked at, so that one may follow another. */
export function readExpert({ gate, up, down }: Expert): ExpertWeights {
  const read = {
    gate: once(() => gate && readLinear(gate)),
    up: once(() => readLinear(up!)),
    down: once(() => readLinear(down!)),
  };
  return {
    get gate() {
      return read.gate();
    },
    get up() {
      return read.up();
    },
    get down() {
      return read.down();
    },
  };
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => (made ??= { value: make() }).value;
}

export function readLinear({ weight, bias }: Linear): LinearWeights {
  return { weight: readMatrix(weight), bias: bias && readVector(bias.view) };
}
