import type { Expert, MoeLayer } from './moe-layer.ts';

/** The experts of a layer that have matrices: those that are quantized and written anew. */
export function ffnExperts({ experts }: Pick<MoeLayer, 'experts'>): Expert[] {
  return experts.filter(({ kind }) => kind === 'ffn');
}
