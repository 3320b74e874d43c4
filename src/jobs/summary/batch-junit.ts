import { escapeMarkup } from '../../report/escape-markup.ts';
import { gateText } from '../../report/gates/gate-text.ts';
import type { JobOutcome } from './job-outcome.ts';

/** Outcomes as JUnit XML, one test case each: a missed gate is a failure, a fault an error. */
export function batchJunit(outcomes: readonly JobOutcome[]): string {
  const count = (status: JobOutcome['status']): number =>
    outcomes.filter((outcome) => outcome.status === status).length;
  const counts = `tests="${outcomes.length}" failures="${count('gates')}" errors="${count('failed')}"`;
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="moeq run" ${counts}>`,
    `  <testsuite name="moeq run" ${counts} skipped="${count('skipped')}">`,
    ...outcomes.map(testCase),
    '  </testsuite>',
    '</testsuites>',
  ];
  return `${lines.join('\n')}\n`;
}

function testCase(outcome: JobOutcome): string {
  const { name, recipe } = outcome;
  const head = `classname="moeq run.${escapeMarkup(recipe)}" name="${escapeMarkup(name)}"`;
  const body = verdictOf(outcome);
  return body === '' ? `    <testcase ${head}/>` : `    <testcase ${head}>${body}</testcase>`;
}

function verdictOf({ status, gates, fault }: JobOutcome): string {
  if (status === 'skipped') return '<skipped/>';
  if (fault) {
    const text = [fault.what, fault.where, fault.why, fault.remedy].filter(Boolean).join('\n');
    const element = status === 'gates' ? 'failure' : 'error';
    return `<${element} type="${escapeMarkup(fault.code)}" message="${escapeMarkup(fault.what)}">${escapeMarkup(text)}</${element}>`;
  }
  const texts = gates.filter(({ ok }) => !ok).map((gate) => escapeMarkup(gateText(gate)));
  return texts.map((text) => `<failure type="gate" message="${text}">${text}</failure>`).join('');
}
