import type { CommandModule } from 'yargs';
import type { QuantizeConfig } from '../config/schema.ts';
import { firstRecords, tasksOf } from '../data/record.ts';
import { readRecords } from '../data/records.ts';
import { openTokenizer } from '../data/tokenizer.ts';
import { Fault } from '../fault.ts';
import { foldersOf, inFolders, writeText } from '../files/output-files.ts';
import { recordProgress } from '../pipeline/progress.ts';
import { verifyOptions } from '../pipeline/run-options.ts';
import { judgeReport } from '../pipeline/write-report.ts';
import { requireKnownGates, requireKnownTasks } from '../report/gates/gate-keys.ts';
import { parseLimits } from '../report/gates/limits.ts';
import { markdownReport } from '../report/markdown.ts';
import { serializeReport } from '../report/report.ts';
import { summarize } from '../report/summarize.ts';
import { verify } from '../verify/verify.ts';
import { paint, print } from './output.ts';
import { configOf, listOption, sharedOptions } from './run-options.ts';
import { progressDisplay } from './show-progress.ts';
import { cleanOnSignal } from './signals.ts';

interface Arguments {
  reference: string;
  quantized: string;
  data: string;
  set: string[];
  report?: string | undefined;
  markdown?: string | undefined;
  min: string[];
  max: string[];
  json: boolean;
}

export const verifyCommand: CommandModule<object, Arguments> = {
  command: 'verify <reference> <quantized>',
  describe: 'compare a quantized model with the model it was made from',
  builder: (yargs) =>
    yargs
      .positional('reference', { type: 'string', demandOption: true, describe: 'the original .onnx file' })
      .positional('quantized', { type: 'string', demandOption: true, describe: 'the quantized .onnx file' })
      .options({ ...sharedOptions, data: { ...sharedOptions.data, demandOption: true } })
      .options({
        min: listOption('smallest value allowed: key=value'),
        max: listOption('largest value allowed: key=value'),
        markdown: { type: 'string', describe: 'write a summary for a pull request' },
      }),
  async handler({ reference, quantized, data, set, report: folder, min, max, markdown, json }) {
    const config = configOf(undefined, {}, set);
    refuseOtherRecords(config);
    const { tokenizer, gates } = config;
    const limits = { min: { ...gates.min, ...parseLimits(min) }, max: { ...gates.max, ...parseLimits(max) } };
    requireKnownGates(limits);
    const given = readRecords(data, openTokenizer(tokenizer, reference));
    const records = firstRecords(given, config.verify.records);
    requireKnownTasks(limits, tasksOf(records));
    cleanOnSignal();
    const folders = [...(folder ? [folder] : []), ...(markdown ? foldersOf(markdown) : [])];
    const measured = await inFolders(folders, () =>
      verify(reference, quantized, records, {
        ...verifyOptions(reference, config),
        onBatch: recordProgress(progressDisplay(), 'verify', records.length),
      }),
    );
    const report = judgeReport(measured, limits, folder);
    if (markdown) writeText(markdown, markdownReport(report));
    print(json ? serializeReport(report) : summarize(report, paint));
    if (report.gates.some(({ ok }) => !ok)) process.exitCode = 1;
  },
};

/** The records are those of the flag; others would be passed over. @throws Fault USAGE */
function refuseOtherRecords({ data, verify: { data: measured } }: QuantizeConfig): void {
  if ((data ?? measured) === null) return;
  throw new Fault({
    code: 'USAGE',
    what: `verify measures on the records of --data, not on those of ${data === null ? 'verify.data' : 'data'}`,
    where: `--set ${data === null ? 'verify.data' : 'data'}=${data ?? measured}`,
    remedy: 'name them by --data, and leave out the key',
  });
}
