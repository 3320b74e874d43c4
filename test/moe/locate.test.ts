import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import { openModel } from '../../src/onnx/open-model.ts';

interface Truth {
  layers: number;
  experts: number;
  expertsInFile?: number;
  topK: number | null;
  hidden: number;
  intermediate: number;
  sharedIntermediate?: number;
  scoring: string;
  gated: boolean;
  routers?: number;
}

const fixtures = join(import.meta.dirname, '../fixtures/graphs');
const zoo = join(process.env.MOEQ_ZOO ?? '', 'graphs');

function truthOf(folder: string): [string, Truth][] {
  const path = join(folder, 'truth.json');
  return existsSync(path)
    ? Object.entries(JSON.parse(readFileSync(path, 'utf8')) as Record<string, Truth>)
    : [];
}

function summariesOf(path: string): unknown[] {
  return locate(openModel(path)).layers.map(summary);
}

function summary({
  router,
  routers,
  experts,
  hidden,
  intermediate,
  shared,
  complete,
  gated,
}: MoeLayer): unknown {
  return {
    experts: router.experts,
    expertsInFile: experts.length,
    complete,
    topK: router.topK,
    scoring: router.scoring,
    routers,
    hidden,
    intermediate,
    shared: shared?.intermediate ?? 0,
    gated,
  };
}

function expected(truth: Truth): unknown {
  const { experts, topK, scoring, hidden, intermediate } = truth;
  const expertsInFile = truth.expertsInFile ?? experts;
  const rest = {
    complete: expertsInFile === experts,
    routers: truth.routers ?? 1,
    shared: truth.sharedIntermediate ?? 0,
    gated: truth.gated,
  };
  return { experts, expertsInFile, topK, scoring, hidden, intermediate, ...rest };
}

function allExpected(truth: Truth): unknown[] {
  return Array.from({ length: truth.layers }, () => expected(truth));
}

describe('locate agrees with what is known of the exported models', () => {
  it.each(truthOf(fixtures))('%s', (file, truth) => {
    expect(summariesOf(join(fixtures, file))).toEqual(allExpected(truth));
  });
});

describe.skipIf(!existsSync(zoo))('the same for every graph of the zoo (set MOEQ_ZOO to its folder)', () => {
  it.each(truthOf(zoo))('%s', (file, truth) => {
    expect(summariesOf(join(zoo, file))).toEqual(allExpected(truth));
  });
});
