import { accuracySection } from './html/accuracy.ts';
import { channelsSection } from './html/channels.ts';
import { expertsSection } from './html/experts.ts';
import type { Markup } from './html/markup.ts';
import { markup } from './html/markup.ts';
import { htmlPage } from './html/page.ts';
import { routingSection } from './html/routing.ts';
import { sizesSection } from './html/sizes.ts';
import { sqnrSection } from './html/sqnr.ts';
import { summarySection } from './html/summary.ts';
import type { Report } from './report.ts';

/**
 * The report as one HTML file that needs no network and no script: figures as inline SVG with tables beside them,
 * for wide and narrow screens, light and dark, paper and screen readers. Equal reports give equal text.
 */
export function reportHtml(report: Report): string {
  const sections = listSections(report);
  const links = sections.map(({ id, title }) => markup`<li><a href="#${id}">${title}</a></li>`);
  const main = markup`<h1>Quantization report</h1>
<nav aria-label="Sections"><ul>${links}</ul></nav>
${sections.map(({ id, title, content }) => markup`<section id="${id}">\n<h2>${title}</h2>\n${content}</section>\n`)}`;
  return htmlPage(`moeq report: ${report.quantized.path}`, main);
}

interface Section {
  id: string;
  title: string;
  content: Markup;
}

function listSections(report: Report): Section[] {
  const { layers, calibration, recipe } = report;
  return [
    { id: 'summary', title: 'Summary', content: summarySection(report) },
    { id: 'accuracy', title: 'Accuracy', content: accuracySection(report) },
    ...(layers.length === 0 ? [] : layerSections(report)),
    ...(calibration
      ? [{ id: 'channels', title: 'Outlier channels', content: channelsSection(calibration) }]
      : []),
    { id: 'sizes', title: 'Sizes and census', content: sizesSection(report) },
    ...(recipe ? [{ id: 'recipe', title: 'Recipe', content: recipeSection(recipe) }] : []),
  ];
}

function layerSections(report: Report): Section[] {
  return [
    { id: 'routing', title: 'Router agreement', content: routingSection(report) },
    { id: 'sqnr', title: 'Expert accuracy', content: sqnrSection(report) },
    { id: 'experts', title: 'Tokens per expert', content: expertsSection(report) },
  ];
}

/** The settings that made the model, nested keys joined by dots. */
function recipeSection(recipe: Record<string, unknown>): Markup {
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
