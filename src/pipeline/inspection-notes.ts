import type { Location } from '../moe/locate.ts';
import type { ModelRecord } from '../moe/model-record.ts';

/**
 * What is to be said of a model as a whole: that moeq wrote it (its experts have a form of their own then, which is not
 * located again), or that no layer was found, and whether something came close.
 */
export function inspectionNotes(record: ModelRecord | null, { layers, rejected }: Location): string[] {
  if (record) return [writtenNote(record)];
  if (layers.length > 0) return [];
  const near = rejected.length === 0 ? '' : `; what came closest (${rejected.length}): see --explain`;
  return [`No Mixture-of-Experts layer was found${near}.`];
}

function writtenNote({ version, recipe, execution, layers }: ModelRecord): string {
  const experts = layers.reduce((sum, layer) => sum + layer.experts.length, 0);
  const how = [recipe.scheme, execution.target].filter(Boolean).join(', ');
  const what = `${layers.length} layers, ${experts} experts`;
  return `This file was quantized by moeq ${version} (${how}: ${what}); its routers and experts are those of its source.`;
}
