import { escapeMarkup } from './escape-markup.ts';
import { gateText } from './gates/gate-text.ts';
import type { Gate } from './report.ts';

/**
 * Gates as JUnit XML, one test case each, of a report or of a comparison.
 * @param suite name of the suite, e.g. `moeq diff`.
 */
export function junitXml(suite: string, gates: readonly Gate[]): string {
  const failures = gates.filter(({ ok }) => !ok).length;
  const counts = `name="${escapeMarkup(suite)}" tests="${gates.length}" failures="${failures}"`;
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `  <testsuite ${counts} errors="0" skipped="0">`,
    ...gates.map((gate) => testCase(suite, gate)),
    '  </testsuite>',
    '</testsuites>',
  ];
  return `${lines.join('\n')}\n`;
}

function testCase(suite: string, gate: Gate): string {
  const head = `    <testcase classname="${escapeMarkup(suite)}" name="${escapeMarkup(gate.name)}"`;
  const text = escapeMarkup(gateText(gate));
  if (gate.ok) return `${head}><system-out>${text}</system-out></testcase>`;
  return `${head}><failure type="gate" message="${text}">${text}</failure></testcase>`;
}
