import type { CommandModule } from 'yargs';
import { inspectModel } from '../pipeline/inspect-model.ts';
import { describeInspection } from '../report/describe-inspection.ts';
import { paint, print, printJson } from './output.ts';

interface Arguments {
  model: string;
  json: boolean;
  explain: boolean;
}

export const inspectCommand: CommandModule<object, Arguments> = {
  command: 'inspect <model>',
  describe: 'find the routers and experts of a model',
  builder: (yargs) =>
    yargs
      .positional('model', { type: 'string', demandOption: true, describe: 'an .onnx file' })
      .option('json', { type: 'boolean', default: false, describe: 'print JSON' })
      .option('explain', {
        type: 'boolean',
        default: false,
        describe: 'also tell what was not accepted, and why',
      }),
  handler({ model, json, explain }) {
    const inspection = inspectModel(model, { explain });
    if (json) printJson(inspection);
    else print(describeInspection(inspection, paint));
  },
};
