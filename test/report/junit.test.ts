import { expect, test } from 'vitest';
import { evaluateGates } from '../../src/report/gates/gates.ts';
import { junitXml } from '../../src/report/junit.ts';
import { buildReport } from './helpers/build-report.ts';

test('one test case a gate, with the counts CI systems read', () => {
  const gates = evaluateGates(buildReport(), { min: { topKAgreement: 0.99, 'task.mean': 0.5 }, max: {} });
  expect(junitXml('moeq verify', gates)).toBe(`<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="moeq verify" tests="2" failures="1">
  <testsuite name="moeq verify" tests="2" failures="1" errors="0" skipped="0">
    <testcase classname="moeq verify" name="topKAgreement"><failure type="gate" message="topKAgreement is 0.9593 in L2, at least 0.99 is asked for">topKAgreement is 0.9593 in L2, at least 0.99 is asked for</failure></testcase>
    <testcase classname="moeq verify" name="task.mean"><system-out>task.mean is 0.9026, at least 0.5 is asked for</system-out></testcase>
  </testsuite>
</testsuites>
`);
});

test('names are escaped, and what XML forbids is replaced', () => {
  const gate = { name: `a<b>&"c"'\u0000\u001B\uD800`, limit: 1, value: 0, ok: false };
  const xml = junitXml('s', [gate]);
  expect(xml).toContain('name="a&lt;b&gt;&amp;&quot;c&quot;&#39;\uFFFD\uFFFD\uFFFD"');
});
