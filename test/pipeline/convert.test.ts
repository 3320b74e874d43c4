import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeTensor } from '../../src/onnx/tensor.ts';
import { convert } from '../../src/pipeline/convert.ts';
import type { Conversion } from '../../src/pipeline/open-conversion.ts';
import type { Workshop } from '../../src/pipeline/workshop.ts';
import { plainWorkshop } from '../../src/pipeline/workshop.ts';
import { bundledModel, calibrationData, configFrom, dataFree } from '../helpers/bundled.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moeq-convert-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Spoils a weight between its rounding and its writing. */
const careless: Workshop = {
  ...plainWorkshop,
  settle(constants) {
    const value = constants.find(({ name }) => name.endsWith('E3/down/weight'))!;
    const { dtype, shape, byteLength } = value.tensor!.source;
    value.tensor = makeTensor(value.name, dtype, shape, new Uint8Array(byteLength));
  },
};

test.each(['never', 'always'])(
  'a file without parity is not published and replaces nothing (external data: %s)',
  async (externalData) => {
    const output = join(folder, `${externalData}.onnx`);
    writeFileSync(output, 'the old model');
    const conversion: Conversion = {
      model: bundledModel('batched.dyn'),
      output,
      config: configFrom(...dataFree, `output.externalData=${externalData}`),
      reportFolder: null,
      force: true,
    };
    const before = readdirSync(folder);
    await expect(convert(conversion, () => {}, careless)).rejects.toMatchObject({
      code: 'PARITY',
      where: expect.stringContaining('E3, down') as string,
    });
    expect(readFileSync(output, 'utf8')).toBe('the old model');
    expect(readdirSync(folder)).toEqual(before);
    const { bytes } = await convert(conversion, () => {});
    const beside = bytes.after - readFileSync(output).length;
    expect(beside > 0).toBe(externalData === 'always');
    expect(readFileSync(output).length).toBeGreaterThan(1000);
  },
);

test('a model is never written over, whatever name leads to it', async () => {
  const model = join(folder, 'source.onnx');
  copyFileSync(bundledModel('batched.dyn'), model);
  symlinkSync(model, join(folder, 'link.onnx'));
  const before = readFileSync(model);
  const common = { model, config: configFrom(...dataFree), reportFolder: null, force: true };
  for (const output of [model, `${folder}/./source.onnx`, join(folder, 'link.onnx')]) {
    await expect(convert({ ...common, output }, () => {})).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' });
  }
  expect(readFileSync(model).equals(before)).toBe(true);
});

test('weights go with the model they belong to, and those of another stay', async () => {
  const write = (name: string, externalData: string, force = true): Promise<unknown> => {
    const config = configFrom(...dataFree, `output.externalData=${externalData}`);
    const model = bundledModel('batched.dyn');
    return convert({ model, output: join(folder, name), config, reportFolder: null, force }, () => {});
  };
  await write('moved.onnx', 'always');
  await write('moved.onnx', 'never');
  expect(readdirSync(folder)).not.toContain('moved.onnx.data');
  writeFileSync(join(folder, 'moved.onnx.data'), 'of another');
  await write('moved.onnx', 'never');
  rmSync(join(folder, 'moved.onnx'));
  await write('moved.onnx', 'auto', false);
  expect(readFileSync(join(folder, 'moved.onnx.data'), 'utf8')).toBe('of another');
});

test('the figures are those of what was written, whatever takes its place meanwhile', async () => {
  const output = join(folder, 'shared.onnx');
  const config = configFrom(...dataFree, `verify.data=${calibrationData}`, 'verify.records=2');
  const conversion = {
    model: bundledModel('batched.dyn'),
    output,
    config,
    reportFolder: folder,
    force: true,
  };
  const alone = await convert(conversion, () => {});
  expect(alone.execution).toMatchObject({ target: 'int', executed: true });
  expect(alone.report?.notes?.[0]).toMatch(/^data-free/);
  const disturbed = await convert(conversion, ({ stage, done }) => {
    // Its files are open then.
    if (stage === 'verify' && done) copyFileSync(conversion.model, output);
  });
  expect(disturbed.bytes).toEqual(alone.bytes);
});

test.each([
  { settings: [...dataFree, 'verify.data=nowhere.jsonl'], code: 'DATA_NOT_FOUND' },
  { settings: dataFree, code: 'DATA_REQUIRED' },
  {
    settings: [`data=${calibrationData}`, 'calibration.records=3', 'router.realign=true'],
    code: 'REALIGN_RECORDS',
  },
])('what is missing is missed before the work: $code', async ({ settings, code }) => {
  const output = join(folder, 'missed.onnx');
  const stages: string[] = [];
  const conversion = {
    model: bundledModel('batched.dyn'),
    output,
    config: configFrom(...settings),
    reportFolder: join(folder, 'report'),
    force: false,
  };
  await expect(convert(conversion, ({ stage }) => stages.push(stage))).rejects.toMatchObject({ code });
  expect(stages).toEqual([]);
  expect(readdirSync(folder)).not.toContain('missed.onnx');
});

test('the bytes of a file do not depend on where records lie, or on what is measured', async () => {
  const write = async (name: string, ...settings: string[]): Promise<Buffer> => {
    const output = join(folder, name);
    const config = configFrom(...dataFree, ...settings);
    await convert(
      { model: bundledModel('batched.dyn'), output, config, reportFolder: null, force: false },
      () => {},
    );
    return readFileSync(output);
  };
  const elsewhere = join(folder, 'records.jsonl');
  copyFileSync(calibrationData, elsewhere);
  const plain = await write('plain.onnx', `data=${calibrationData}`);
  const other = await write(
    'other.onnx',
    `data=${elsewhere}`,
    'verify.data=nowhere.jsonl',
    'verify.records=9',
  );
  expect(other.equals(plain)).toBe(true);
});

test('the bytes of a file do not depend on the seed, since no step makes a random choice', async () => {
  const [first, second] = await Promise.all(
    [0, 7].map(async (seed) => {
      const output = join(folder, `seed-${seed}.onnx`);
      const config = configFrom(...dataFree, `seed=${seed}`);
      const model = bundledModel('batched.dyn');
      await convert({ model, output, config, reportFolder: null, force: false }, () => {});
      return readFileSync(output);
    }),
  );
  expect(second.equals(first)).toBe(true);
});
