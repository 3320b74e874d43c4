/**
 * Measures what each step of the recipe adds on one model: `node scripts/ablate.ts MODEL CALIB EVAL [SCHEME] [NAME …]`.
 * Every line is one conversion and one verification; names choose variants, all by default. A name that is no variant
 * is read as settings: `smoothing.alpha=0.4 rotation.down=hadamard`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../src/config/load-config.ts';
import { parseSet } from '../src/config/set.ts';
import { readRecords } from '../src/data/records.ts';
import { openTokenizer } from '../src/data/tokenizer.ts';
import { writeModel } from '../src/onnx/write-model.ts';
import { quantizeModel } from '../src/pipeline/quantize-model.ts';
import type { Report } from '../src/report/report.ts';
import { verify } from '../src/verify/verify.ts';

const variants: Record<string, string[]> = {
  rtn: ['smoothing.enabled=false', 'rounding.method=rtn'],
  clip: ['smoothing.enabled=false', 'rounding.method=clip'],
  gptq: ['smoothing.enabled=false', 'rounding.sweeps=0'],
  'gptq+refine': ['smoothing.enabled=false'],
  'smooth+rtn': ['rounding.method=rtn'],
  'smooth+gptq+refine': [],
  'down not smoothed': ['smoothing.down=off'],
  'router without a vote': ['smoothing.router=false'],
  'alpha 0.3': ['smoothing.alpha=0.3'],
  'alpha 0.5': ['smoothing.alpha=0.5'],
  'alpha 0.7': ['smoothing.alpha=0.7'],
  'aggregate frequency': ['smoothing.aggregate=frequency'],
  'rotate down': ['rotation.down=hadamard'],
  'realign routers': ['router.realign=true'],
  'routers in 8 bits': ['router.bits=8'],
  affinity: ['calibration.affinity=true'],
  'rotate both': ['rotation.down=hadamard', 'rotation.input=hadamard'],
};

const [model, calibration, evaluation, scheme = 'w4a4', ...names] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'moeq-ablate-'));
const output = join(folder, 'out.onnx');
const tokenizer = openTokenizer(null, model);
const records = readRecords(calibration, tokenizer);
const evaluationRecords = readRecords(evaluation, tokenizer);

for (const name of names.length > 0 ? names : Object.keys(variants)) {
  const settings = [
    `scheme=${scheme}`,
    'calibration.balance.enabled=false',
    ...(variants[name] ?? name.split(' ')),
  ];
  const config = loadConfig(
    null,
    settings.map((text) => parseSet(text)),
  );
  const started = performance.now();
  const quantized = await quantizeModel(model, { records, pool: [] }, config);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  writeModel(quantized.model, output, { force: true });
  console.log(`${name.padEnd(34)} ${figures(await verify(model, output, evaluationRecords))}  ${seconds} s`);
}
rmSync(folder, { recursive: true });

function figures({ output: { kl, sqnrDb, perplexity }, tasks, layers }: Report): string {
  const matches = Object.values(tasks).map(({ quantized }) => quantized);
  const match = matches.reduce((sum, value) => sum + value, 0) / matches.length;
  const agreement = Math.min(...layers.map(({ router }) => router.cumulative.topKAgreement));
  const ratio = perplexity ? perplexity.quantized / perplexity.reference : Number.NaN;
  return [
    matches.length > 0 ? `match ${match.toFixed(4)}` : '',
    `kl ${kl.toFixed(5)}`,
    `ratio ${ratio.toFixed(4)}`,
    `agree ${agreement.toFixed(4)}`,
    `sqnr ${sqnrDb.toFixed(2)}`,
  ].join('  ');
}
