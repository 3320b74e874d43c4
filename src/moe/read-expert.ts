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
  gate: LinearWeights | null;
  up: LinearWeights;
  down: LinearWeights;
}

/** Reads one expert's weights from the file. Only this expert's bytes are touched. */
export function readExpert({ gate, up, down }: Expert): ExpertWeights {
  return { gate: gate && readLinear(gate), up: readLinear(up!), down: readLinear(down!) };
}

export function readLinear({ weight, bias }: Linear): LinearWeights {
  return { weight: readMatrix(weight), bias: bias && readVector(bias.view) };
}
