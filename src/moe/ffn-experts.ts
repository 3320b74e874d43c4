import type { Expert, Linear, MoeLayer } from './moe-layer.ts';

/** The experts of a layer that have matrices: those that are quantized and written anew. */
export function ffnExperts({ experts }: Pick<MoeLayer, 'experts'>): Expert[] {
  return experts.filter(({ kind }) => kind === 'ffn');
}

/** The linears an expert has. */
export function linearsOf({ gate, up, down }: Expert): Linear[] {
  return [gate, up, down].filter((linear) => linear !== null);
}

/** Weights of an expert, biases not counted. */
export function weightCount(expert: Expert): number {
  return linearsOf(expert).reduce((sum, { weight: { rows, cols } }) => sum + rows * cols, 0);
}

/** The same of all experts of a layer. */
export function expertWeights({ experts }: Pick<MoeLayer, 'experts'>): number {
  return experts.reduce((sum, expert) => sum + weightCount(expert), 0);
}
