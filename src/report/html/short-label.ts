/** The end of a layer's name, which tells it from others, where a drawing has room for eight characters. */
export function shortLabel(name: string): string {
  return name.length > 8 ? `…${name.slice(-7)}` : name;
}
