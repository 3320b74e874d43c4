import type { CommandModule } from 'yargs';
import { threadedWorkshop } from '../jobs/threads/threaded-workshop.ts';
import type { ConversionResult } from '../pipeline/convert.ts';
import { convert } from '../pipeline/convert.ts';
import { planConversion } from '../pipeline/plan-conversion.ts';
import { schemeNames } from '../quantize/scheme.ts';
import { describeConversionPlan } from '../report/describe-conversion-plan.ts';
import { describeConversion } from '../report/describe-conversion.ts';
import { summarize } from '../report/summarize.ts';
import { threadsOf } from '../runtime/threads-of.ts';
import { paint, print, printJson } from './output.ts';
import { configOf, sharedOptions } from './run-options.ts';
import { progressDisplay } from './show-progress.ts';
import { cleanOnSignal } from './signals.ts';

interface Arguments {
  model: string;
  output?: string | undefined;
  config?: string | undefined;
  scheme?: string | undefined;
  target?: string | undefined;
  data?: string | undefined;
  set: string[];
  report?: string | undefined;
  dryRun: boolean;
  force: boolean;
  json: boolean;
}

export const quantizeCommand: CommandModule<object, Arguments> = {
  command: 'quantize <model>',
  describe: 'quantize the experts of a model',
  builder: (yargs) =>
    yargs.positional('model', { type: 'string', demandOption: true, describe: 'an .onnx file' }).options({
      ...sharedOptions,
      output: { alias: 'o', type: 'string', describe: 'the file to write; MODEL.SCHEME.onnx by default' },
      config: { alias: 'c', type: 'string', describe: 'a YAML or JSON file with settings' },
      scheme: { type: 'string', describe: `weights and activations: ${schemeNames.join(', ')}` },
      target: {
        type: 'string',
        describe: 'how the result is written: int, qdq, nbits, qmoe, packed, auto',
      },
      'dry-run': { type: 'boolean', default: false, describe: 'say what would be done, and do nothing' },
      force: { type: 'boolean', default: false, describe: 'overwrite the output' },
    }) as never,
  async handler({ model, output, config: file, scheme, target, data, set, report, dryRun, force, json }) {
    const config = configOf(file, { scheme, target, data }, set);
    const conversion = { model, config, force, output: output ?? null, reportFolder: report ?? null };
    if (dryRun) {
      const plan = planConversion(conversion);
      if (json) printJson(plan);
      else print(describeConversionPlan(plan, paint));
      return;
    }
    cleanOnSignal();
    const workshop = threadedWorkshop(model, threadsOf(config.threads));
    let result: ConversionResult;
    try {
      result = await convert(conversion, progressDisplay(), workshop);
    } finally {
      await workshop.close();
    }
    if (json) printJson(result);
    else print(result.report ? summarize(result.report, paint) : describeConversion(result, paint));
    if (result.report?.gates.some(({ ok }) => !ok)) process.exitCode = 1;
  },
};
