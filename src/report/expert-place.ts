/** Names an expert so that its layer is told once, whether or not its id holds the layer's. */
export function expertPlace(layer: string, expert: string): string {
  return expert.startsWith(`${layer}.`) ? `expert ${expert}` : `${layer} expert ${expert}`;
}
