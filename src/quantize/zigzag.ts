/**
 * A permutation of the channels that gives every block of `block` channels about the same sum of magnitudes (DuQuant,
 * arXiv 2406.01721, section 3.3): channels in falling order of `absMax` are dealt to the blocks in a snake. Channel
 * `permutation[i]` moves to place i. Blocks must divide the number of channels.
 */
export function zigzagPermutation(absMax: ArrayLike<number>, block: number): Uint32Array {
  const channels = absMax.length;
  const blocks = channels / block;
  const falling = Array.from({ length: channels }, (_, j) => j).toSorted(
    (a, b) => absMax[b] - absMax[a] || a - b,
  );
  const permutation = new Uint32Array(channels);
  falling.forEach((channel, i) => {
    const round = Math.floor(i / blocks);
    const place = i % blocks;
    const chosen = round % 2 === 0 ? place : blocks - 1 - place;
    permutation[chosen * block + round] = channel;
  });
  return permutation;
}
