import { escapeMarkup } from '../escape-markup.ts';

/** Text that is HTML or SVG already. */
export interface Markup {
  markup: string;
}

type Part = Markup | string | number | readonly Part[];

/** Template tag: every inserted text is escaped, markup and lists of markup go in as they are. */
export function markup(strings: TemplateStringsArray, ...parts: Part[]): Markup {
  return { markup: strings.reduce((text, string, i) => text + render(parts[i - 1]) + string) };
}

export const nothing: Markup = { markup: '' };

function render(part: Part): string {
  if (typeof part === 'string' || typeof part === 'number') return escapeMarkup(String(part));
  return 'markup' in part ? part.markup : part.map(render).join('');
}
