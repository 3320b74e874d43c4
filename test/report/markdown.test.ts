import { expect, test } from 'vitest';
import { diffReports } from '../../src/report/diff/diff.ts';
import { evaluateGates } from '../../src/report/gates/gates.ts';
import { markdownDiff, markdownReport } from '../../src/report/markdown.ts';
import { buildReport } from './helpers/build-report.ts';

test('a comparison shows verdict, limits and what moved', () => {
  const limits = { 'drop.task.mean': 0.01, 'rise.size.quantizedBytes': 0 };
  const text = markdownDiff(diffReports(buildReport(), buildReport({ seed: 2, error: 3 }), limits));
  expect(text).toMatch(/^### moeq: ❌ 1 of 2 gates failed\n/);
  expect(text).toMatch(
    /\n\| ❌ failed \| drop\.task\.mean \| 0\.\d+ \| ≤ 0\.01 \| task\.mean \| 95 % interval 0\.\d+ to 0\.\d+ \|\n/,
  );
  expect(text).toMatch(/\n\| ✅ \| rise\.size\.quantizedBytes \| 0 \| ≤ 0 \|/);
  expect(text).toMatch(/<details><summary>\d+ figures moved, the worst 20 shown<\/summary>\n\n\| +\|/);
  expect(text.match(/^\| (worse|better) /gm)).toHaveLength(20);
});

test('equal reports say so', () => {
  const text = markdownDiff(diffReports(buildReport(), buildReport(), { 'drop.task': 0 }));
  expect(text).toMatch(/^### moeq: ✅ The gate holds\n[\s\S]*\nNothing moved\.\n$/);
});

test('a report names the culprit', () => {
  const report = buildReport();
  report.layers[1].experts[3].sqnrDb = 4.2;
  report.gates = evaluateGates(report, { min: { 'expert.sqnrDb': 10 }, max: {} });
  const text = markdownReport(report);
  expect(text).toMatch(/\| ❌ failed \| expert\.sqnrDb \| 4\.2 \| ≥ 10 \| L1 expert 3 \|/);
  expect(text).toMatch(/\n- \*\*L1 expert 3\*\*: far from the reference/);
  expect(text).toMatch(/\| add \| 95 \| 0\.\d{4} \| 0\.\d{4} \|/);
});

test('names from files cannot break out of their cell', () => {
  const report = buildReport();
  report.quantized.path = 'a|b\n\n# <img src=x> @team `x` [l](http://x)';
  report.tasks = { '*a*|b': report.tasks.add };
  const text = markdownReport(report);
  expect(text).toContain(String.raw`<code>a\|b # &lt;img src=x> &#64;team \`x\` \[l\](http://x)</code>`);
  expect(text).toContain(String.raw`| \*a\*\|b | 95 |`);
});
