import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeTensor } from '../../src/onnx/tensor.ts';
import type { Conversion } from '../../src/pipeline/convert.ts';
import { convert } from '../../src/pipeline/convert.ts';
import type { Workshop } from '../../src/pipeline/workshop.ts';
import { plainWorkshop } from '../../src/pipeline/workshop.ts';
import { bundledModel, configFrom, dataFree } from '../helpers/bundled.ts';

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
