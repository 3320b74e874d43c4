import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { batchSchema } from '../../src/config/batch-schema.ts';
import { parseConfigDocument } from '../../src/config/config-document.ts';
import { jsonSchemaOf } from '../../src/config/json-schema.ts';
import { configSchema } from '../../src/config/schema.ts';

interface Node {
  description?: string;
  properties?: Record<string, Node>;
  [key: string]: unknown;
}

/** Dotted keys below a schema that carry no description. */
function undescribed({ properties = {} }: Node, prefix = ''): string[] {
  return Object.entries(properties).flatMap(([key, node]) => [
    ...(node.description ? [] : [prefix + key]),
    ...undescribed(node, `${prefix}${key}.`),
  ]);
}

const read = (name: string) => readFileSync(new URL(`../../configs/${name}`, import.meta.url), 'utf8');

describe('jsonSchemaOf', () => {
  test('describes every key, with its default and choices', () => {
    const schema = jsonSchemaOf(configSchema, 'moeq config') as Node;
    expect(schema).toMatchObject({
      title: 'moeq config',
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      additionalProperties: false,
    });
    expect(schema.properties!['smoothing'].properties!['alpha']).toMatchObject({
      type: 'number',
      minimum: 0,
      maximum: 1,
      default: 0.4,
    });
    expect(schema.properties!['rounding'].properties!['method']).toMatchObject({
      enum: ['rtn', 'clip', 'gptq'],
    });
    expect(schema['required']).toBeUndefined();
    expect(undescribed(schema)).toEqual([]);
    expect(undescribed(jsonSchemaOf(batchSchema, 'moeq batch') as Node)).toEqual([]);
  });

  test('asks of a batch what it cannot do without', () => {
    expect(jsonSchemaOf(batchSchema, 'moeq batch')['required']).toEqual(['output', 'models', 'recipes']);
  });

  test('accepts what the schema it came from accepts', () => {
    const again = z.fromJSONSchema(jsonSchemaOf(configSchema, 'moeq config'));
    for (const name of [
      'rtn.yaml',
      'smoothquant.yaml',
      'gptq.yaml',
      'eaquant.yaml',
      'eaquant-plus.yaml',
      'ternary.yaml',
    ]) {
      expect(again.safeParse(parseConfigDocument(read(name), name).value).success).toBe(true);
    }
    const settings = fc.record(
      {
        seed: fc.integer({ min: -2, max: 9 }),
        scheme: fc.constantFrom('w4a4', 'w8a8', 'w9a9'),
        group: fc.constantFrom('auto', 'channel', 32, 0, 1.5, 'none'),
        smoothing: fc.record({ alpha: fc.double({ min: -0.5, max: 1.5 }) }, { requiredKeys: [] }),
        odd: fc.boolean(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(settings, (value) => {
        expect(again.safeParse(value).success).toBe(configSchema.safeParse(value).success);
      }),
    );
  });
});
