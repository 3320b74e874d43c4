import { spawn } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bundledModel, calibrationData, dataFree } from '../helpers/bundled.ts';
import { root } from '../helpers/run-cli.ts';

let folder: string;
let temporary: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moeq-signal-'));
  temporary = join(folder, 'tmp');
  mkdirSync(temporary);
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const model = bundledModel('loop.dyn');
const set = (...settings: string[]): string[] => settings.flatMap((text) => ['--set', text]);

/** Temporary files and folders of moeq, beside the output and elsewhere. */
function leftovers(): string[] {
  return [
    ...globSync('.*.tmp', { cwd: folder }),
    ...globSync('moeq-{activations,session,weights}-*', { cwd: temporary }),
  ];
}

/** Sends a signal to a command once it has a temporary file of this name, and tells what ended it. */
async function stopWith(signal: NodeJS.Signals, name: string, args: string[]): Promise<unknown> {
  const env = { ...process.env, TMPDIR: temporary };
  const child = spawn(process.execPath, [join(root, 'src/cli/main.ts'), ...args], { env });
  const watch = setInterval(() => {
    if (leftovers().some((each) => each.includes(name))) child.kill(signal);
  }, 10);
  const ended = await new Promise((resolve) =>
    child.on('close', (code, killedBy) => resolve(killedBy ?? code)),
  );
  clearInterval(watch);
  return ended;
}

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  'quantize takes its staged files along on %s',
  async (signal) => {
    const args = ['quantize', model, '-o', join(folder, 'out.onnx'), ...set(...dataFree)];
    expect(await stopWith(signal, '.out.onnx', args)).toBe(signal);
    expect(leftovers()).toEqual([]);
  },
);

test('verify takes what waits between its stages along', async () => {
  const args = ['verify', model, model, '--data', calibrationData, ...set('verify.byLayer=always')];
  expect(await stopWith('SIGINT', 'activations', args)).toBe('SIGINT');
  expect(leftovers()).toEqual([]);
});
