import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { configSchema } from '../../src/config/schema.ts';
import { parseSet } from '../../src/config/set.ts';
import { faultOf } from '../helpers/fault-of.ts';

function write(text: string, name = 'c.yaml'): string {
  const path = join(mkdtempSync(join(tmpdir(), 'moeq-config-')), name);
  writeFileSync(path, text);
  return path;
}

const set = (...assignments: string[]) => assignments.map((text) => parseSet(text));
const shipped = (name: string) => fileURLToPath(new URL(`../../configs/${name}`, import.meta.url));

describe('loadConfig', () => {
  test('without a file gives the defaults', () => {
    const config = loadConfig(null);
    expect(config).toMatchObject({ scheme: 'w4a4', target: 'auto', group: 'auto', data: null, seed: 0 });
    expect(config.calibration.balance).toEqual({ enabled: true, ratio: 2, pool: null });
    expect(config.gates).toEqual({ min: {}, max: {} });
  });

  test('overlays a file and then the flags', () => {
    const file = write('scheme: ternary\nsmoothing:\n  alpha: 0.5\n  router: false\n');
    const config = loadConfig(file, set('smoothing.alpha=0.7', 'group=32'));
    expect(config).toMatchObject({
      scheme: 'ternary',
      group: 32,
      smoothing: { alpha: 0.7, router: false, enabled: true },
    });
  });

  test('reads JSON, indented by tabs, and an empty file', () => {
    expect(loadConfig(write('{\n\t"seed": 7,\n\t"group": "channel"\n}\n', 'c.json'))).toMatchObject({
      seed: 7,
      group: 'channel',
    });
    expect(loadConfig(write('# nothing\n'))).toEqual(loadConfig(null));
  });

  test('a config that is written out loads as itself', () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.nat(),
          smoothing: fc.record({ alpha: fc.double({ min: 0, max: 1, noNaN: true }) }),
        }),
        fc.constantFrom('w4a4', 'ternary', 'w8a8'),
        (settings, scheme) => {
          const config = configSchema.parse({ ...settings, scheme });
          expect(loadConfig(write(JSON.stringify(config)))).toEqual(config);
        },
      ),
      { numRuns: 20 },
    );
  });

  test('takes paths in the file from its folder, those of flags from the working directory', () => {
    const file = write(
      'data: calib\nverify: { data: /eval.jsonl }\ncalibration: { balance: { pool: ../pool } }\ntokenizer: bytes\n',
    );
    const folder = join(file, '..');
    const config = loadConfig(file);
    expect(config.data).toBe(join(folder, 'calib'));
    expect(config.calibration.balance.pool).toBe(join(folder, '../pool'));
    expect([config.verify.data, config.tokenizer]).toEqual(['/eval.jsonl', 'bytes']);
    expect(loadConfig(file, set('data=other', 'tokenizer=t/tokenizer.json'))).toMatchObject({
      data: 'other',
      tokenizer: 't/tokenizer.json',
    });
  });

  test('gates may be nested, dotted or set by flag', () => {
    const file = write(
      'gates:\n  min:\n    topKAgreement: 0.9\n    task: { add: 0.8 }\n    output.sqnrDb: 12\n',
    );
    expect(loadConfig(file, set('gates.min.task.rev=0.7', 'gates.max.perplexityRatio=1.05')).gates).toEqual({
      min: { topKAgreement: 0.9, 'task.add': 0.8, 'task.rev': 0.7, 'output.sqnrDb': 12 },
      max: { perplexityRatio: 1.05 },
    });
  });

  test.each(['rtn', 'smoothquant', 'gptq', 'eaquant', 'eaquant-plus', 'ternary'])(
    'the shipped recipe %s is valid',
    (name) => {
      const scheme = name === 'ternary' ? 'ternary' : 'w4a4';
      expect(loadConfig(shipped(`${name}.yaml`)).scheme).toBe(scheme);
    },
  );

  test('eaquant-plus is what --scheme w4a4 does by default', () => {
    const written = { target: 'int', group: 'channel' };
    expect(loadConfig(shipped('eaquant-plus.yaml'))).toEqual({ ...loadConfig(null), ...written });
  });
});

describe('loadConfig refuses', () => {
  const cases: [string, string, Record<string, unknown>][] = [
    [
      'an unknown key',
      'seed: 1\nsmothing: {}\n',
      {
        code: 'CONFIG_UNKNOWN_KEY',
        what: 'there is no key smothing',
        where: ':2:1',
        remedy: 'did you mean smoothing?',
      },
    ],
    [
      'an unknown inner key',
      'rounding:\n  method: rtn\n  actorder: true\n',
      {
        code: 'CONFIG_UNKNOWN_KEY',
        what: 'there is no key rounding.actorder',
        where: ':3:3',
        remedy: 'did you mean actOrder?',
      },
    ],
    [
      'a key one level too high',
      'alpha: 0.5\n',
      { code: 'CONFIG_UNKNOWN_KEY', where: ':1:1', remedy: 'did you mean smoothing.alpha?' },
    ],
    [
      'a key like no other',
      'router: { zzzzzz: 1 }\n',
      { code: 'CONFIG_UNKNOWN_KEY', where: ':1:11', remedy: 'the keys here are bits, realign' },
    ],
    [
      'a misspelt choice',
      'scheme: w4a4\ntarget: nbit\n',
      { code: 'CONFIG_VALUE', what: 'target cannot be "nbit"', where: ':2:1', remedy: 'did you mean nbits?' },
    ],
    [
      'a number out of range',
      'smoothing:\n    alpha: 1.5\n',
      {
        code: 'CONFIG_VALUE',
        what: 'smoothing.alpha cannot be 1.5',
        where: ':2:5',
        why: 'Too big: expected number to be <=1',
      },
    ],
    [
      'a value of another kind',
      'group: fine\n',
      {
        code: 'CONFIG_VALUE',
        what: 'group cannot be "fine"',
        where: ':1:1',
        remedy: 'give auto, channel, or a whole number of at least 1',
      },
    ],
    [
      'a scalar for a section',
      'router: 8\n',
      { code: 'CONFIG_VALUE', what: 'router cannot be 8', where: ':1:1' },
    ],
    [
      'a gate that is no number',
      'gates:\n  min:\n    task: { add: high }\n',
      { code: 'CONFIG_VALUE', what: 'gates.min.task.add cannot be "high"', where: ':3:13' },
    ],
    ['a list', '- seed\n', { code: 'CONFIG_VALUE', what: 'the config cannot be ["seed"]', where: ':1:1' }],
    ['a duplicate key', 'seed: 1\nseed: 2\n', { code: 'CONFIG_SYNTAX', where: ':2:1' }],
    ['broken syntax', 'seed: [1\n', { code: 'CONFIG_SYNTAX', where: ':2:1' }],
    ['an unknown tag', 'seed: !secret 1\n', { code: 'CONFIG_SYNTAX', where: ':1:7' }],
    [
      'an unknown key behind an alias',
      'smoothing: &s { alpha: 0.5 }\nrounding: *s\n',
      { code: 'CONFIG_UNKNOWN_KEY', what: 'there is no key rounding.alpha', where: ':1:17' },
    ],
  ];
  test.each(cases)('%s', (_, text, { where, ...fault }) => {
    const file = write(text);
    expect(faultOf(() => loadConfig(file)).toRecord()).toMatchObject({
      ...fault,
      where: `${file}${String(where)}`,
    });
  });

  test('every problem at once', () => {
    const file = write('threads: 0\nsed: 1\n');
    const fault = faultOf(() => loadConfig(file));
    expect(fault).toMatchObject({ code: 'CONFIG_UNKNOWN_KEY', where: `${file}:2:1` });
    expect(fault.why).toBe(`also: threads cannot be 0 (${file}:1:1)`);
  });

  test('a bad flag, naming it', () => {
    const file = write('seed: 1\n');
    const faultFor = (assignment: string) => faultOf(() => loadConfig(file, set(assignment)));
    expect(faultFor('seed=-1')).toMatchObject({ code: 'CONFIG_VALUE', where: '--set seed=-1' });
    expect(faultFor('smoothing.alhpa=1')).toMatchObject({
      code: 'CONFIG_UNKNOWN_KEY',
      where: '--set smoothing.alhpa=1',
      remedy: 'did you mean alpha?',
    });
    expect(faultFor('__proto__.seed=1').code).toBe('CONFIG_UNKNOWN_KEY');
  });

  test('a file that is not there', () => {
    expect(faultOf(() => loadConfig('nowhere.yaml'))).toMatchObject({
      code: 'CONFIG_NOT_FOUND',
      where: 'nowhere.yaml',
    });
  });
});
