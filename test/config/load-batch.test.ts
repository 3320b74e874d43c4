import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { batchSchema } from '../../src/config/batch-schema.ts';
import { loadBatch } from '../../src/config/load-batch.ts';
import { openDocument } from '../../src/config/open-document.ts';
import { parseSet } from '../../src/config/set.ts';
import { validate } from '../../src/config/validate.ts';
import { faultOf } from '../helpers/fault-of.ts';

/** A folder with three models, a recipe file and the batch file, whose path is returned. */
function write(batch: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'moeq-batch-'));
  for (const model of ['a/small.onnx', 'a/large.onnx', 'b/small.onnx']) {
    mkdirSync(dirname(join(folder, model)), { recursive: true });
    writeFileSync(join(folder, model), '');
  }
  writeFileSync(join(folder, 'recipe.yaml'), 'scheme: w8a8\nseed: 3\ndata: recipe-data\n');
  writeFileSync(join(folder, 'batch.yaml'), batch);
  return join(folder, 'batch.yaml');
}

const recipes = 'recipes:\n  rtn: { rounding: { method: rtn } }\n  file: recipe.yaml\n';
const names = (file: string) => loadBatch(file).jobs.map(({ name }) => name);

/** A batch with a flag beside one that gives `data` for all jobs. */
const besideData = (text: string) => {
  const file = write(
    `output: out\nmodels: [{ path: a/small.onnx }]\n${recipes}overrides: [{ settings: { seed: 1 } }]\n`,
  );
  return loadBatch(file, [parseSet(text), parseSet('data=d')]);
};

describe('loadBatch', () => {
  test('pairs every model with every recipe, in order', () => {
    const file = write(`output: out\nmodels: [a/*.onnx]\n${recipes}data: calib\n`);
    const { output, jobs, concurrency, stopOnFailure } = loadBatch(file);
    expect([output, concurrency, stopOnFailure]).toEqual([join(dirname(file), 'out'), 1, false]);
    expect(jobs.map(({ name, model, recipe }) => [name, model, recipe])).toEqual([
      ['large.rtn', join(dirname(file), 'a/large.onnx'), 'rtn'],
      ['large.file', join(dirname(file), 'a/large.onnx'), 'file'],
      ['small.rtn', join(dirname(file), 'a/small.onnx'), 'rtn'],
      ['small.file', join(dirname(file), 'a/small.onnx'), 'file'],
    ]);
    expect(jobs[0].config).toMatchObject({
      scheme: 'w4a4',
      rounding: { method: 'rtn', damping: 0.01 },
      seed: 0,
    });
  });

  test('the batch yields to the recipe, that to the model, that to the first override', () => {
    const file = write(
      `output: out
models:
  - a/small.onnx
  - { path: a/large.onnx, data: model-data, gates: { min: { topKAgreement: 0.7 } } }
${recipes}data: batch-data
gates: { min: { topKAgreement: 0.9, task.add: 0.8 } }
overrides:
  - { model: lar*, recipe: file, settings: { seed: 8, gates: { min: { task: { add: 0.5 } } } } }
  - { settings: { seed: 9, rounding: { damping: 0.1 } } }
`,
    );
    const configs = loadBatch(file).jobs.map(({ config }) => config);
    const folder = dirname(file);
    expect(configs.map(({ data }) => data)).toEqual(
      ['batch-data', 'recipe-data', 'model-data', 'model-data'].map((name) => join(folder, name)),
    );
    expect(configs.map(({ seed }) => seed)).toEqual([9, 9, 9, 8]);
    expect(configs.map(({ rounding }) => [rounding.method, rounding.damping])).toEqual([
      ['rtn', 0.1],
      ['gptq', 0.1],
      ['rtn', 0.1],
      ['gptq', 0.01],
    ]);
    expect(configs[0].gates.min).toEqual({ topKAgreement: 0.9, 'task.add': 0.8 });
    expect(configs[3].gates.min).toEqual({ topKAgreement: 0.7, 'task.add': 0.5 });
  });

  test('includes and excludes pairs by name', () => {
    const pairs = `output: out\nmodels: [a/*.onnx]\n${recipes}`;
    expect(names(write(`${pairs}include: [{ model: small }]\n`))).toEqual(['small.rtn', 'small.file']);
    expect(names(write(`${pairs}exclude: [{ model: s*l, recipe: rtn }]\n`))).toEqual([
      'large.rtn',
      'large.file',
      'small.file',
    ]);
    expect(
      names(
        write(
          `${pairs}include: [{ recipe: rtn }, { model: large }]\nexclude: [{ model: large, recipe: rtn }]\n`,
        ),
      ),
    ).toEqual(['large.file', 'small.rtn']);
    expect(names(write(`${pairs}exclude: [{ model: 'smal.' }]\n`))).toHaveLength(4);
  });

  test('names results as asked', () => {
    const file = write(
      `output: out\nmodels: ['*/small.onnx']\nnaming: '{folder}/{model}-{recipe}'\n${recipes}`,
    );
    expect(names(file)).toEqual(['a/small-rtn', 'a/small-file', 'b/small-rtn', 'b/small-file']);
  });

  test('takes any key from a flag', () => {
    const file = write(`output: out\nmodels: [a/small.onnx]\n${recipes}`);
    const overrides = ['output=elsewhere', 'jobs=2', 'recipes.rtn.rounding.method=clip', 'data=d'].map(
      (text) => parseSet(text),
    );
    const batch = loadBatch(file, overrides);
    expect(batch).toMatchObject({ output: 'elsewhere', concurrency: 2 });
    expect(batch.jobs[0].config).toMatchObject({ data: 'd', rounding: { method: 'clip' } });
  });

  test('what a flag gives for all jobs stands above what the file says of some', () => {
    const file = write(
      `output: out
models:
  - { path: a/small.onnx, data: model-data, gates: { min: { task.add: 0.6 } } }
  - a/large.onnx
${recipes}  strict: { gates: { min: { topKAgreement: 0.5, exactSet: 0.4 } } }
overrides: [{ recipe: rtn, settings: { gates: { min: { task: { add: 0.7 } } } } }]
`,
    );
    const flags = ['data=d', 'gates.min.topKAgreement=0.999', 'gates.min.task.add=0.1'];
    const { jobs } = loadBatch(
      file,
      flags.map((text) => parseSet(text)),
    );
    const given = { topKAgreement: 0.999, 'task.add': 0.1 };
    const strict = { ...given, exactSet: 0.4 };
    expect(jobs.map(({ config }) => config.data)).toEqual(jobs.map(() => 'd'));
    expect(jobs.map(({ config }) => config.gates.min)).toEqual([given, given, strict, given, given, strict]);
  });

  test.each(['recipes.rtn.data=e', 'models.0.data=e', 'overrides.0.settings.data=e'])(
    '%s contradicts a flag for all jobs',
    (text) => {
      const fault = faultOf(() => besideData(text)).toRecord();
      expect(fault).toMatchObject({ code: 'CONFIG_SET', where: `--set ${text}` });
    },
  );

  test.each(['recipes.rtn.verify.data=e', 'jobs=2'])('%s does not', (text) => {
    expect(() => besideData(text)).not.toThrow();
  });
});

test('the shipped batch is valid, and its paths are meant from its folder', () => {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const batch = validate(batchSchema, openDocument(batchSchema, join(root, 'configs/batch.yaml')));
  expect(Object.keys(batch.recipes)).toEqual(['rtn', 'w4a4', 'ternary']);
  expect(batch).toMatchObject({
    output: join(root, 'out/batch'),
    models: [join(root, 'test/fixtures/models/tasks-olmoe/loop.dyn.onnx')],
    recipes: { w4a4: join(root, 'configs/eaquant-plus.yaml'), ternary: join(root, 'configs/ternary.yaml') },
    data: join(root, 'calib-data/tasks-calib.jsonl'),
    verify: { data: join(root, 'calib-data/tasks-eval.jsonl') },
  });
});

describe('loadBatch refuses', () => {
  const models = 'models: [a/small.onnx]\n';
  const cases: [string, string, Record<string, unknown>, string][] = [
    [
      'a batch without output',
      `${models}${recipes}`,
      { code: 'CONFIG_MISSING_KEY', what: 'output is missing' },
      ':1:1',
    ],
    [
      'an unknown key',
      `output: out\n${models}${recipes}stoponfailure: true\n`,
      { code: 'CONFIG_UNKNOWN_KEY', remedy: 'did you mean stopOnFailure?' },
      ':6:1',
    ],
    [
      'an unknown key in a recipe',
      `output: out\n${models}recipes:\n  r:\n    rouding: {}\n`,
      {
        code: 'CONFIG_UNKNOWN_KEY',
        what: 'there is no key recipes.r.rouding',
        remedy: 'did you mean rounding?',
      },
      ':5:5',
    ],
    [
      'a wrong value of a model',
      `output: out\nmodels:\n  - { path: a/small.onnx, verify: { records: 0 } }\n${recipes}`,
      { code: 'CONFIG_VALUE', what: 'models.0.verify.records cannot be 0' },
      ':3:37',
    ],
    [
      'an unknown placeholder',
      `output: out\n${models}${recipes}naming: '{modle}'\n`,
      { code: 'CONFIG_VALUE', why: 'the placeholders are {model}, {recipe} and {folder}' },
      ':6:1',
    ],
    ...['../../evil', '/tmp/evil', '.moeq/x', 'a/../.moeq/x', '{folder}/../../{recipe}'].map(
      (naming): (typeof cases)[number] => [
        `results that go elsewhere by ${naming}`,
        `output: out\n${models}${recipes}naming: '${naming}'\n`,
        { code: 'CONFIG_VALUE', what: expect.stringMatching(/^naming cannot name a job /) },
        ':6:1',
      ],
    ),
    [
      'a recipe that is named like a folder',
      `output: out\n${models}recipes:\n  ..: {}\n`,
      {
        code: 'CONFIG_VALUE',
        what: expect.stringContaining('recipes.'),
        why: expect.stringContaining('dots alone'),
      },
      ':4:3',
    ],
    [
      'a glob without a match',
      `output: out\nmodels: [a/small.onnx, c/*.onnx]\n${recipes}`,
      { code: 'BATCH_NO_MODEL' },
      ':2:24',
    ],
    [
      'two jobs of one name',
      `output: out\nmodels: ['*/small.onnx']\n${recipes}`,
      { code: 'BATCH_NAME', what: 'two jobs would be named small.rtn' },
      '',
    ],
    ['a batch of nothing', `output: out\n${models}${recipes}exclude: [{}]\n`, { code: 'BATCH_EMPTY' }, ''],
    [
      'a batch without recipes',
      `output: out\n${models}recipes: {}\n`,
      { code: 'CONFIG_VALUE', why: 'there is no recipe' },
      ':3:1',
    ],
  ];
  test.each(cases)('%s', (_, text, fault, place) => {
    const file = write(text);
    expect(faultOf(() => loadBatch(file)).toRecord()).toMatchObject({ ...fault, where: `${file}${place}` });
  });

  test('a recipe file that is wrong, at its own place', () => {
    const file = write(`output: out\n${models}recipes: { r: bad.yaml }\n`);
    const recipe = join(dirname(file), 'bad.yaml');
    writeFileSync(recipe, 'seed: 1\nscheme: w5a5\n');
    expect(faultOf(() => loadBatch(file))).toMatchObject({ code: 'CONFIG_VALUE', where: `${recipe}:2:1` });
  });
});
