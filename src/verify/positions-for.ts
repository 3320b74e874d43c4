/** Numbers in one output of a batch, 128 MB: a joined graph holds several such outputs at a time. */
const outputSize = 2 ** 25;
/** Activations of so many positions are small beside the weights of the layers they go through. */
const mostPositions = 4096;

/** Positions of a batch for a model with so many classes, whose logits may take more room than all else. */
export function positionsFor(classes: number): number {
  return Math.max(1, Math.min(mostPositions, Math.floor(outputSize / Math.max(1, classes))));
}
