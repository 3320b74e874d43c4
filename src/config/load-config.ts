import { openDocument } from './open-document.ts';
import { configSchema, type QuantizeConfig } from './schema.ts';
import type { Override } from './set.ts';
import { validate } from './validate.ts';

/**
 * The quantization config of a YAML or JSON file (null: all defaults) with the overrides of the command line.
 * @throws Fault as {@link openDocument} and {@link validate} do.
 */
export function loadConfig(file: string | null, overrides: readonly Override[] = []): QuantizeConfig {
  return validate(configSchema, openDocument(configSchema, file, overrides));
}
