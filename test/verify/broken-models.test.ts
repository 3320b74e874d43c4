import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import type { Model } from '../../src/onnx/model.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { defaultDiffLimits } from '../../src/report/diff/diff-limits.ts';
import { diffReports } from '../../src/report/diff/diff.ts';
import { evaluateGates } from '../../src/report/gates/gates.ts';
import { reportHtml } from '../../src/report/html.ts';
import type { Gate, Report } from '../../src/report/report.ts';
import { summarize } from '../../src/report/summarize.ts';
import { verify } from '../../src/verify/verify.ts';
import { clipHidden, editConstant, scaleExpert, swapColumns } from '../helpers/break-model.ts';
import { bundledModel, bundledRecords, configFrom, dataFree, evaluationData } from '../helpers/bundled.ts';

const reference = bundledModel('loop.dyn');
const records = bundledRecords(evaluationData).filter((_, i) => i % 12 === 0);
/** Limits that the sound model keeps with room to spare. */
const limits = {
  min: { 'expert.sqnrDb': 5, 'layer.sqnrDb': 14, 'local.topKAgreement': 0.99 },
  max: { perplexityRatio: 1.05 },
};

let folder: string;
let good: Report;
let layers: MoeLayer[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'moeq-broken-'));
  ({ layers } = prepareModel(reference));
  const { model } = await quantizeModel(reference, null, configFrom('scheme=w4a4', ...dataFree));
  writeModel(model, join(folder, 'good.onnx'));
  good = await measured(() => {});
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** The report of the sound model with something changed in it. */
async function measured(change: (model: Model) => void): Promise<Report> {
  const model = openModel(join(folder, 'good.onnx'));
  change(model);
  const path = join(folder, 'changed.onnx');
  writeModel(model, path, { force: true });
  const report = await verify(reference, path, records, { attribution: false });
  return { ...report, gates: evaluateGates(report, limits) };
}

function failed(gates: readonly Gate[]): (string | undefined)[][] {
  return gates.filter(({ ok }) => !ok).map(({ name, where }) => [name, where]);
}

function failedDiff(report: Report): (string | undefined)[][] {
  return failed(diffReports(good, report, defaultDiffLimits(good)).gates);
}

/** What stands above everything else: the verdict and what to look at. */
function firstScreens(report: Report): string[] {
  const [terminal] = summarize(report).split('\n\n');
  const html = reportHtml(report);
  return [terminal, html.slice(html.indexOf('<p class="verdict'), html.indexOf('<dl class="tiles"'))];
}

test('the sound model passes', () => {
  expect(failed(good.gates)).toEqual([]);
  expect(failedDiff(good)).toEqual([]);
});

describe('is caught and named:', () => {
  test('the scale of one expert off by 2', async () => {
    const report = await measured((model) => scaleExpert(model, 'L1', 5, 2));
    expect(failed(report.gates)).toContainEqual(['expert.sqnrDb', 'expert L1.E5']);
    expect(failedDiff(report)).toEqual([['drop.expert.sqnrDb', 'expert L1.E5']]);
    for (const screen of firstScreens(report)) {
      expect(screen).toMatch(/expert L1\.E5(<\/strong>)?: far from the reference \(SQNR -?0\.\d dB, typical/);
    }
  });

  test('two columns of a router swapped', async () => {
    const report = await measured((model) => swapColumns(model, layers[2], 3, 9));
    expect(failed(report.gates)).toEqual([['local.topKAgreement', 'L2']]);
    expect(failedDiff(report)).toContainEqual(['drop.topKAgreement', 'L2']);
    for (const screen of firstScreens(report)) {
      for (const expert of ['L2.E3', 'L2.E9'])
        expect(screen).toMatch(
          new RegExp(`expert ${expert}(</strong>)?: the router sends its tokens to others`),
        );
    }
  });

  test('one scale of one expert that is no number', async () => {
    const report = await measured((model) =>
      editConstant(model, 'moeq/L1/down/scales', (values) => {
        values[Math.floor((5.5 / 16) * values.length)] = Number.NaN;
      }),
    );
    const names = failed(report.gates).map(([name]) => name);
    expect(names).toEqual(['expert.sqnrDb', 'layer.sqnrDb', 'perplexityRatio']);
    const [note] = report.notes!;
    const [, lost, all] = /outputs at (\d+) of (\d+) positions\.$/.exec(note)!.map(Number);
    expect(note).toContain('in the quantized model: L1 (expert L1.E5), L2 (router, by its input), outputs');
    const finite = 1 - lost / all;
    expect(report.output.top1Agreement).toBeLessThanOrEqual(finite);
    expect(report.layers[2].router.cumulative.topKAgreement).toBeLessThanOrEqual(finite);
    for (const screen of firstScreens(report))
      expect(screen).toMatch(/L1\.E5(<\/strong>)?: its output is not finite/);
  });

  test('one weight of a router that is no number', async () => {
    const report = await measured((model) =>
      editConstant(model, layers[1].router.linear!.name, (values) => {
        values[7] = Number.NaN;
      }),
    );
    expect(failed(report.gates)).toContainEqual(['local.topKAgreement', 'L1']);
    expect(report.layers[1].router.local).toMatchObject({ topKAgreement: 0, exactSet: 0, top1Agreement: 0 });
    expect(report.notes).toContainEqual(
      expect.stringMatching(/^Not finite in the quantized model: L1 \(router\)/),
    );
  });

  test('a reference that is no number itself', async () => {
    const model = openModel(reference);
    editConstant(model, layers[0].router.linear!.name, (values) => {
      values[7] = Number.NaN;
    });
    const path = join(folder, 'lost.onnx');
    writeModel(model, path);
    const { layers: found, notes } = await verify(path, join(folder, 'good.onnx'), records, {
      attribution: false,
    });
    expect(found.map(({ router }) => router.local.topKAgreement)).toEqual([0, 0, 0]);
    expect(notes![0]).toEqual(
      expect.stringMatching(/^Not finite in the reference model: L0 \(router\), L1 \(router/),
    );
  });

  test('the activations of one layer clipped', async () => {
    const report = await measured((model) => clipHidden(model, 'L0', 0.3));
    expect(failed(report.gates)).toContainEqual(['layer.sqnrDb', 'L0']);
    expect(failedDiff(report)).toContainEqual(['rise.perplexityRatio', '']);
    for (const screen of firstScreens(report)) {
      expect(screen).toMatch(/L0(<\/strong>)?: every expert is far from the reference/);
    }
  });
});
