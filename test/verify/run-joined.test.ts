import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeModel } from '../../src/onnx/write-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { verify } from '../../src/verify/verify.ts';
import { bundledModel, bundledRecords, configFrom, dataFree, evaluationData } from '../helpers/bundled.ts';

const records = bundledRecords(evaluationData).filter((_, i) => i % 20 === 0);

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'moeq-joined-'))));
afterAll(() => rmSync(folder, { recursive: true }));

/** Every figure of a report, by its path; an expert without tokens has shares of nothing. */
function figuresOf(item: unknown, path = ''): [string, number][] {
  if (typeof item === 'number') return [[path, Number.isNaN(item) ? -1 : item]];
  if (typeof item !== 'object' || item === null) return [];
  return Object.entries(item).flatMap(([key, part]) => figuresOf(part, `${path}.${key}`));
}

/** Parts of a graph are optimized apart. */
const mostOf = (path: string): number => (/kl|mse/i.test(path) ? 1e-5 : 1e-2);

test.each(['loop.ts', 'batched.dyn', 'fused.moe'] as const)(
  '%s, one layer at a time, has the report of both models at once',
  async (form) => {
    const model = bundledModel(form);
    const output = join(folder, `${form}.onnx`);
    writeModel((await quantizeModel(model, null, configFrom(...dataFree))).model, output);
    const [whole, apart] = [
      await verify(model, output, records),
      await verify(model, output, records, { byLayer: true }),
    ];
    expect(apart.attribution).toBeDefined();
    expect(apart.notes).toBeUndefined();
    expect(apart.output.kl).toBeGreaterThan(1e-3);
    const expected = new Map(figuresOf(whole));
    const figures = figuresOf(apart);
    expect(figures.map(([path]) => path)).toEqual([...expected.keys()]);
    expect(figures.filter(([path, figure]) => Math.abs(figure - expected.get(path)!) > mostOf(path))).toEqual(
      [],
    );
  },
);
