/**
 * Measures what each step of the recipe adds on one model: `node scripts/ablate.ts MODEL CALIB EVAL [SCHEME] [NAME …]`.
 * Every line is one conversion and one verification; names choose variants, all by default.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../src/config/load-config.ts';
import { parseSet } from '../src/config/set.ts';
import { convert } from '../src/pipeline/convert.ts';
import type { Report } from '../src/report/report.ts';

const variants: Record<string, string[]> = {
  rtn: ['smoothing.enabled=false', 'rounding.method=rtn'],
  clip: ['smoothing.enabled=false', 'rounding.method=clip'],
  gptq: ['smoothing.enabled=false', 'rounding.method=gptq'],
  'smooth+rtn': ['rounding.method=rtn'],
  'smooth+gptq': [],
  'smooth+gptq, down off': ['smoothing.down=off'],
  'smooth+gptq, down otsu': ['smoothing.down=otsu'],
  'smooth+gptq, router has no vote': ['smoothing.router=false'],
  'alpha 0.3': ['smoothing.alpha=0.3'],
  'alpha 0.4': ['smoothing.alpha=0.4'],
  'alpha 0.5': ['smoothing.alpha=0.5'],
  'alpha 0.7': ['smoothing.alpha=0.7'],
  frequency: ['smoothing.aggregate=frequency'],
  probability: ['smoothing.aggregate=probability'],
};

const [model, calibration, evaluation, scheme = 'w4a4', ...names] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'moeq-ablate-'));
for (const name of names.length > 0 ? names : Object.keys(variants)) {
  const settings = variants[name] ?? name.split(' ');
  const sets = [`scheme=${scheme}`, `data=${calibration}`, `verify.data=${evaluation}`, ...settings];
  const config = loadConfig(null, ['calibration.balance.enabled=false', ...sets].map((text) => parseSet(text)));
  const conversion = { model, output: join(folder, 'out.onnx'), config, reportFolder: folder, force: true };
  const { report } = await convert(conversion, () => {});
  console.log(`${name.padEnd(34)} ${figures(report!)}`);
}
rmSync(folder, { recursive: true });

function figures({ output, tasks, layers }: Report): string {
  const matches = Object.values(tasks).map(({ quantized }) => quantized);
  const match = matches.reduce((sum, value) => sum + value, 0) / matches.length;
  const agreement = Math.min(...layers.map(({ router }) => router.cumulative.topKAgreement));
  const ratio = output.perplexity ? output.perplexity.quantized / output.perplexity.reference : Number.NaN;
  return [
    matches.length > 0 ? `match ${match.toFixed(4)}` : '',
    `kl ${output.kl.toFixed(5)}`,
    `ratio ${ratio.toFixed(4)}`,
    `agree ${agreement.toFixed(4)}`,
    `sqnr ${output.sqnrDb.toFixed(2)}`,
  ].join('  ');
}
