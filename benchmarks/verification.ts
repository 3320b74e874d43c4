/**
 * What verifying costs, against running both models over the same batches without any metrics:
 * `node benchmarks/verification.ts [ZOO] [--tokens N] [--rounds N]`. Everything is timed in one process, by turns.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config/load-config.ts';
import { parseSet } from '../src/config/set.ts';
import { makeBatches } from '../src/data/batches.ts';
import { declaredInputs } from '../src/data/model-input.ts';
import type { DataRecord } from '../src/data/record.ts';
import { tokenInput } from '../src/data/record.ts';
import { readRecords } from '../src/data/records.ts';
import { openTokenizer } from '../src/data/tokenizer.ts';
import { emitLayer } from '../src/emit/emit-layer.ts';
import { floatExperts } from '../src/emit/float-experts.ts';
import { prepareModel } from '../src/moe/prepare-model.ts';
import { openModel } from '../src/onnx/open-model.ts';
import { writeModel } from '../src/onnx/write-model.ts';
import { quantizeModel } from '../src/pipeline/quantize-model.ts';
import { median } from '../src/report/median.ts';
import { openSession } from '../src/runtime/session.ts';
import { verify } from '../src/verify/verify.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tokens: { type: 'string', default: '60000' }, rounds: { type: 'string', default: '3' } },
});
const folder = join(positionals[0] ?? process.env['MOEQ_ZOO'] ?? '', 'models/text-qwen2moe');
const reference = join(folder, 'batched.dyn.onnx');
if (existsSync(reference)) await measure();
else console.log('skipped: name the folder of the zoo, or set MOEQ_ZOO');

async function measure(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'moeq-verification-'));
  try {
    const [quantized, canonical] = [join(scratch, 'quantized.onnx'), join(scratch, 'canonical.onnx')];
    const settings = ['smoothing.enabled=false', 'rounding.method=rtn'];
    const config = loadConfig(
      null,
      settings.map((text) => parseSet(text)),
    );
    writeModel((await quantizeModel(reference, null, config)).model, quantized);
    writeCanonical(canonical);
    const records = firstTokens(Number(values.tokens));
    const forms = {
      reference: () => run(reference, records),
      'reference, canonical': () => run(canonical, records),
      quantized: () => run(quantized, records),
      verify: () => verify(reference, quantized, records),
      'verify without attribution': () => verify(reference, quantized, records, { attribution: false }),
    };
    const seconds = await timeByTurns(forms, Number(values.rounds));
    for (const [name, time] of Object.entries(seconds)) console.log(name.padEnd(28), time.toFixed(1), 's');
    const both = seconds.reference + seconds.quantized;
    const canonicalBoth = seconds['reference, canonical'] + seconds.quantized;
    console.log('verify over both models      ', (seconds.verify / both).toFixed(2));
    console.log('verify over both, canonical  ', (seconds.verify / canonicalBoth).toFixed(2));
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** The reference with its experts grouped: what `verify` itself runs, and much faster than this export. */
function writeCanonical(path: string): void {
  const { model, layers } = prepareModel(reference);
  for (const layer of layers) emitLayer(model, layer, floatExperts(layer));
  model.graph.removeDeadCode();
  writeModel(model, path);
}

/** Records of the evaluation data, then of the calibration data, up to a number of tokens. */
function firstTokens(count: number): DataRecord[] {
  const tokenizer = openTokenizer(null, reference);
  const all = ['eval', 'calib'].flatMap((name) => readRecords(join(folder, `${name}.jsonl`), tokenizer));
  let tokens = 0;
  return all.filter(({ inputs }) => tokens < count && (tokens += inputs[tokenInput].data.length) > 0);
}

async function run(path: string, records: readonly DataRecord[]): Promise<void> {
  const session = await openSession(path);
  for (const { feeds } of makeBatches(records, declaredInputs(openModel(path)))) await session.run(feeds);
  await session.release();
}

/** Median seconds of each form; every round visits each once. */
async function timeByTurns<Name extends string>(
  forms: Record<Name, () => Promise<unknown>>,
  rounds: number,
): Promise<Record<Name, number>> {
  const names = Object.keys(forms) as Name[];
  const times = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const start = performance.now();
      await forms[name]();
      times.get(name)!.push((performance.now() - start) / 1000);
    }
  }
  return Object.fromEntries([...times].map(([name, list]) => [name, median(list)])) as Record<Name, number>;
}
