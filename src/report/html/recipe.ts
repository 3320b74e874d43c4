import { type Markup, markup } from './markup.ts';

/** The settings that made the model, nested keys joined by dots. */
export function recipeSection(recipe: Record<string, unknown>): Markup {
  const items = flatten(recipe, '').map(
    ([key, value]) => markup`<div><dt>${key}</dt><dd>${value}</dd></div>\n`,
  );
  return markup`<dl class="recipe">${items}</dl>\n`;
}

function flatten(value: unknown, key: string): [string, string][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [[key, typeof value === 'string' ? value : JSON.stringify(value)]];
  }
  return Object.entries(value).flatMap(([name, inner]) =>
    flatten(inner, key === '' ? name : `${key}.${name}`),
  );
}
