/**
 * The name a constant had in the source, before scales were folded into a copy of it or a router was realigned: of those
 * in `known`, for the source may have such names of its own.
 */
export function sourceName(name: string, known: { has(name: string): boolean }): string {
  const source = name.replace(/(?:_(?:smoothed|realigned)(?:_\d+)?)+$/, '');
  return known.has(source) ? source : name;
}
