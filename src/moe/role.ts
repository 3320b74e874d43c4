/** What a constant of a model is for. */
export const roles = [
  'expert',
  'router',
  'shared',
  'attention',
  'norm',
  'embedding',
  'head',
  'other',
] as const;

export type Role = (typeof roles)[number];
