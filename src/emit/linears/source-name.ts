/** The name a constant had in the source, before scales were folded into a copy of it or a router was realigned. */
export function sourceName(name: string): string {
  return name.replace(/(?:_(?:smoothed|realigned)(?:_\d+)?)+$/, '');
}
