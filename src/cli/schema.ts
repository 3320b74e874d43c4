import type { CommandModule } from 'yargs';
import { batchSchema } from '../config/batch-schema.ts';
import { jsonSchemaOf } from '../config/json-schema.ts';
import { configSchema } from '../config/schema.ts';
import { reportSchema } from '../report/schema.ts';
import { printJson } from './output.ts';

const schemas = { config: configSchema, batch: batchSchema, report: reportSchema };
type Kind = keyof typeof schemas;

export const schemaCommand: CommandModule<object, { kind: Kind; json: boolean }> = {
  command: 'schema [kind]',
  describe: 'print the JSON Schema of a config, a batch or a report',
  builder: (yargs) =>
    yargs
      .positional('kind', {
        choices: Object.keys(schemas) as Kind[],
        default: 'config' as const,
        describe: 'which schema',
      })
      .option('json', { type: 'boolean', default: false, describe: 'print JSON, as it does anyway' }),
  handler({ kind }) {
    printJson(jsonSchemaOf(schemas[kind], `moeq ${kind}`));
  },
};
