import { gateText } from '../../report/gates/gate-text.ts';
import type { Markup } from '../../report/html/markup.ts';
import { markup, nothing } from '../../report/html/markup.ts';
import { htmlPage } from '../../report/html/page.ts';
import { htmlTable, numeric } from '../../report/html/table.ts';
import { rowOf, verdict } from './describe-outcomes.ts';
import type { JobOutcome } from './job-outcome.ts';

/** Outcomes as one HTML page that needs no network and links to the reports of the jobs. */
export function batchHtml(outcomes: readonly JobOutcome[]): string {
  const isGood = outcomes.every(({ status }) => status === 'done');
  const columns = [
    { title: 'job' },
    { title: 'status' },
    ...numeric('model', 'result', 'bits', 'top-k agreement', 'perplexity ratio'),
  ];
  const rows = outcomes.map((outcome) => [linkOf(outcome), ...rowOf(outcome).slice(1)]);
  const main = markup`<h1>Batch</h1>
<p class="verdict ${isGood ? 'good' : 'bad'}">${verdict(outcomes)}</p>
${htmlTable('Jobs', columns, rows)}
${outcomes.map(troubleOf)}`;
  return htmlPage('moeq batch', main);
}

function linkOf({ name, files }: JobOutcome): Markup {
  const report = files.find(({ path }) => path.endsWith('report.html'));
  if (!report) return markup`${name}`;
  return markup`<a href="${report.path.split(/[\\/]/).map(encodeURIComponent).join('/')}">${name}</a>`;
}

function troubleOf({ name, gates, fault }: JobOutcome): Markup {
  const texts = [
    ...gates.filter(({ ok }) => !ok).map((gate) => gateText(gate)),
    ...(fault ? [`${fault.code}: ${fault.what}`, fault.why ?? '', fault.remedy ?? ''].filter(Boolean) : []),
  ];
  if (texts.length === 0) return nothing;
  return markup`<h2>${name}</h2>\n<ul>${texts.map((text) => markup`<li>${text}</li>`)}</ul>\n`;
}
