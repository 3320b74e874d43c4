import type { Location } from '../moe/locate.ts';

/** What is to be said of weights that look like experts and belong to no layer. */
export function leftOutNotes({ leftOut }: Pick<Location, 'leftOut'>): string[] {
  return leftOut.map(({ node, reason }) => `${node}: ${reason}. They stay as they are.`);
}
