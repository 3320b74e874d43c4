/**
 * Share of each token's range that its grid of codes spans, in front of gate and up (`input`) and of down (`hidden`): below
 * 1 the few largest values become the ends of the grid, and all others are rounded in finer steps.
 */
export interface ActivationClips {
  input: number;
  hidden: number;
}

export const noClips: ActivationClips = { input: 1, hidden: 1 };

export function isClipped({ input, hidden }: ActivationClips): boolean {
  return input < 1 || hidden < 1;
}
