/** How far a model is from the reference. */
export interface Distance {
  /** Divergence of the output, in nats. */
  divergence: number;
  /** Share of the routers' choices that differ, over all layers: the worst one alone tells less, by chance. */
  rerouted: number;
}

/** Fewer choices that differ do not make a model better than another. */
const leastRerouted = 1e-3;

/** Both in one number, since either can be bought with the other: their product. */
export function joint({ divergence, rerouted }: Distance): number {
  return divergence * (rerouted + leastRerouted);
}
