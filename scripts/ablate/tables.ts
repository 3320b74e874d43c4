import type { Figures } from './measure.ts';
import type { Plan } from './plan.ts';
import { keyOf } from './results.ts';
import type { Subject } from './subject.ts';

const markers = { start: '<!-- made by scripts/ablate.ts -->', end: '<!-- end -->' };

/**
 * The document with the tables between its markers; what stands before and after them stays. A text without markers gets
 * them at its end.
 */
export function withTables(document: string, tables: string): string {
  const made = `${markers.start}\n\n${tables}\n${markers.end}`;
  const [start, end] = [document.indexOf(markers.start), document.indexOf(markers.end)];
  if (start < 0 || end < start) return `${document.trimEnd()}\n\n${made}\n`.trimStart();
  return document.slice(0, start) + made + document.slice(end + markers.end.length);
}

/** A line with what is known of it, one entry per model. */
interface Line {
  name: string;
  figures: (Figures | undefined)[];
}

/**
 * Markdown of a plan, as far as there are results: models with tasks in one table, models with a perplexity in another.
 * Empty without any.
 */
export function tablesOf(
  { title, rows }: Plan,
  subjects: readonly Pick<Subject, 'name' | 'identity'>[],
  results: ReadonlyMap<string, Figures>,
): string {
  const known = subjects.map((subject) => ({
    name: subject.name,
    figures: rows.map((row) => results.get(keyOf(subject, row))),
  }));
  const withTasks = known.filter(({ figures }) => figures.some((each) => each && each.match !== null));
  const others = known.filter((model) => model.figures.some(Boolean) && !withTasks.includes(model));
  const tables = [withTasks, others].flatMap((models) => {
    const lines = rows.map(({ name }, i) => ({ name, figures: models.map(({ figures }) => figures[i]) }));
    const names = models.map(({ name }) => name);
    return models.length > 0 ? `${tableOf(names, lines)}\n` : [];
  });
  return tables.length > 0 ? `## ${title}\n\n${tables.join('\n')}` : '';
}

/** Lines without any figures are left out. */
function tableOf(models: readonly string[], lines: readonly Line[]): string {
  const all = lines.flatMap(({ figures }) => figures).filter((each) => each !== undefined);
  const columns: Columns = {
    score: all.some(({ match }) => match !== null) ? 'match' : 'ratio',
    balanced: all.some(({ belowFloor }) => belowFloor),
  };
  const titles = [columns.score, 'KL', 'agreement', ...(columns.balanced ? ['below the floor'] : [])];
  const head = models.flatMap((model) => [`${model}: ${titles[0]}`, ...titles.slice(1)]);
  const body = lines
    .filter(({ figures }) => figures.some(Boolean))
    .map(({ name, figures }) => [name, ...figures.flatMap((each) => cellsOf(each, columns))]);
  return markdown([['', ...head], ...body]);
}

interface Columns {
  score: 'match' | 'ratio';
  /** Whether there is a column for what balancing did. */
  balanced: boolean;
}

function cellsOf(figures: Figures | undefined, { score, balanced }: Columns): string[] {
  if (!figures) return Array<string>(balanced ? 4 : 3).fill('');
  const { kl, agreement, belowFloor } = figures;
  const cells = [figures[score]?.toFixed(4) ?? '', kl.toFixed(5), agreement.toFixed(4)];
  if (!balanced) return cells;
  return [...cells, belowFloor ? `${belowFloor.before} → ${belowFloor.after} of ${belowFloor.of}` : ''];
}

/** Columns padded to one width, as the formatter has them. */
function markdown([head, ...body]: string[][]): string {
  const widths = head.map((_, i) => Math.max(3, ...[head, ...body].map((cells) => cells[i].length)));
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n');
}
