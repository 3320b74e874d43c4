/**
 * Measures what each step of the recipes adds, and writes the tables of docs/results.md:
 *   node scripts/ablate.ts ZOO_FOLDER_OR_MODEL... [--schemes w4a4,balance,w3a4,w4a16,ternary] [--only WORDS]
 *     [--out docs/results.md] [--results out/ablation.jsonl] [--try SETTINGS]...
 * A model has its records beside it, calib.jsonl and eval.jsonl. Every line of a table is one conversion and one
 * verification, kept in the results file as soon as it is there: a run may be stopped and started again, and does only
 * what has no result under its settings. After a change of code, delete that file. `--only` runs the lines whose names
 * hold one of the comma-separated words; the tables show all results there are. `--try 'smoothing.alpha=0.4 group=32'`
 * measures the default with other settings instead, and writes no tables.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Figures } from './ablate/measure.ts';
import { measure } from './ablate/measure.ts';
import type { Plan, Row } from './ablate/plan.ts';
import { balancePlan, planOf, trialPlan } from './ablate/plan.ts';
import { keepResult, keyOf, readResults } from './ablate/results.ts';
import type { Subject } from './ablate/subject.ts';
import { findModels, openSubject } from './ablate/subject.ts';
import { tablesOf, withTables } from './ablate/tables.ts';

const { values: options, positionals } = parseArgs({
  options: {
    schemes: { type: 'string', default: 'w4a4,balance,w3a4,w4a16,ternary' },
    only: { type: 'string', default: '' },
    out: { type: 'string', default: 'docs/results.md' },
    results: { type: 'string', default: 'out/ablation.jsonl' },
    try: { type: 'string', multiple: true, default: [] },
  },
  allowPositionals: true,
});
const isTrial = options.try.length > 0;
const plans = options.schemes.split(',').map((name) => {
  if (name === 'balance') return balancePlan();
  return isTrial ? trialPlan(name, options.try) : planOf(name);
});
const words = options.only.split(',').map((word) => word.trim());
const subjects: Subject[] = [];
for (const model of findModels(positionals)) subjects.push(await openSubject(model));
const results = readResults(options.results);

for (const plan of plans) {
  for (const subject of subjects) {
    for (const row of plan.rows) {
      const isWanted = words.some((word) => row.name.includes(word));
      if (isWanted && !results.has(keyOf(subject, row))) await run(subject, plan, row);
    }
    if (!isTrial) writeTables();
  }
}

async function run(subject: Subject, { scheme }: Plan, row: Row): Promise<void> {
  const started = performance.now();
  const figures = await measure(subject, row);
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  const key = keyOf(subject, row);
  results.set(key, figures);
  keepResult(options.results, { key, model: subject.name, scheme, row: row.name, seconds, figures });
  console.log(`${subject.name}  ${scheme}  ${row.name.padEnd(50)} ${textOf(figures)}  ${seconds} s`);
}

function textOf({ match, ratio, kl, agreement }: Figures): string {
  const score = match === null ? `ratio ${ratio?.toFixed(4)}` : `match ${match.toFixed(4)}`;
  return `${score}  kl ${kl.toFixed(5)}  agree ${agreement.toFixed(4)}`;
}

function writeTables(): void {
  const tables = plans.map((plan) => tablesOf(plan, subjects, results)).filter(Boolean);
  const before = existsSync(options.out) ? readFileSync(options.out, 'utf8') : '';
  writeFileSync(options.out, withTables(before, tables.join('\n')));
}
