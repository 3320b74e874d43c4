import { readFileSync } from 'node:fs';
import type { CommandModule } from 'yargs';
import { Fault } from '../fault.ts';
import { writeText } from '../files/output-files.ts';
import { defaultDiffLimits } from '../report/diff/diff-limits.ts';
import { diffReports } from '../report/diff/diff.ts';
import { summarizeDiff } from '../report/diff/summarize-diff.ts';
import { parseLimits } from '../report/gates/limits.ts';
import { junitXml } from '../report/junit.ts';
import { markdownDiff } from '../report/markdown.ts';
import type { Report } from '../report/report.ts';
import { parseReport } from '../report/report.ts';
import { paint, print, printJson } from './output.ts';
import { listOption } from './run-options.ts';

interface Arguments {
  baseline: string;
  current: string;
  max: string[];
  gate: boolean;
  json: boolean;
  markdown?: string | undefined;
  junit?: string | undefined;
}

export const diffCommand: CommandModule<object, Arguments> = {
  command: 'diff <baseline> <current>',
  describe: 'compare two reports of the same data',
  builder: (yargs) =>
    yargs
      .positional('baseline', { type: 'string', demandOption: true, describe: 'report.json to compare with' })
      .positional('current', { type: 'string', demandOption: true, describe: 'report.json to judge' })
      .options({
        max: listOption('largest drop or rise allowed: key=value'),
        gate: { type: 'boolean', default: false, describe: 'also apply the default limits' },
        json: { type: 'boolean', default: false, describe: 'print JSON' },
        markdown: { type: 'string', describe: 'write a summary for a pull request' },
        junit: { type: 'string', describe: 'write JUnit XML' },
      }),
  handler({ baseline, current, max, gate, json, markdown, junit }) {
    const before = readReport(baseline);
    const limits = { ...(gate && defaultDiffLimits(before)), ...parseLimits(max) };
    const diff = diffReports(before, readReport(current), limits);
    if (markdown) writeText(markdown, markdownDiff(diff));
    if (junit) writeText(junit, junitXml('moeq diff', diff.gates));
    if (json) printJson(diff);
    else print(summarizeDiff(diff, paint));
    if (diff.gates.some(({ ok }) => !ok)) process.exitCode = 1;
  },
};

function readReport(path: string): Report {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const what = 'the report cannot be read';
    throw Fault.because(cause, { code: 'FILE_MISSING', what, where: path, remedy: 'check the path' });
  }
  return parseReport(text, path);
}
