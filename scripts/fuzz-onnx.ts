/*
 * Feeds damaged ONNX files to the reader: node scripts/fuzz-onnx.ts [count] [seed]
 * Fails if one of them ends in anything but a coded Fault, takes two seconds, or takes more memory than ten times its
 * size (above what a valid model of that kind takes).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exercise, mutant, randomOf } from '../test/helpers/fuzz.ts';

const [count = '20000', seed = '1'] = process.argv.slice(2);
const slowest = 2000;
const memoryFloor = 32e6;

const folder = mkdtempSync(join(tmpdir(), 'moeq-fuzz-'));
writeFileSync(join(folder, 'weights.bin'), new Uint8Array(64));
const path = join(folder, 'fuzz.onnx');
const outcomes = new Map<string, number>();
let failures = 0;

for (let index = 0; index < Number(count); index++) {
  const bytes = mutant(randomOf(Number(seed) * 1_000_003 + index));
  const start = performance.now();
  const before = memory();
  const outcome = run(bytes);
  const took = performance.now() - start;
  const grown = memory() - before;
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  const isWrong = outcome.startsWith('!') || took > slowest || grown > memoryFloor + 10 * bytes.length;
  if (!isWrong) continue;
  failures++;
  const kept = join(tmpdir(), `moeq-fuzz-${seed}-${index}.onnx`);
  writeFileSync(kept, bytes);
  console.error(`${kept}: ${outcome}, ${took.toFixed(0)} ms, ${(grown / 1e6).toFixed(0)} MB`);
}
rmSync(folder, { recursive: true });
for (const [outcome, times] of outcomes) console.log(`${String(times).padStart(7)}  ${outcome}`);
console.log(`${failures} failures; peak memory ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MB`);
process.exitCode = failures > 0 ? 1 : 0;

function run(bytes: Uint8Array): string {
  try {
    return exercise(bytes, path) ?? 'opened and saved';
  } catch (error) {
    return `! ${error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 3).join(' ') : String(error)}`;
  }
}

function memory(): number {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}
