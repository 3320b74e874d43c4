import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../helpers/redis-server.ts';
import { root } from '../helpers/run-cli.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'moeq-no-queue-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Runs a command with a queue, with modules for Node.js to load first. */
function refusal(command: string[], url: string, ...imports: string[]): string {
  const preload = imports.flatMap((path) => ['--import', pathToFileURL(path).href]);
  const set = ['--set', `output=${join(folder, 'out')}`];
  const args = command[0] === 'run' ? [...command, ...set] : command;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...preload, join(root, 'src/cli/main.ts'), ...args, '--queue', url],
    { encoding: 'utf8' },
  );
  expect([status, stdout]).toEqual([2, '']);
  expect(stderr.match(/^[A-Z][A-Z0-9_]+: /gm)).toHaveLength(1);
  expect(stderr).toMatch(/^ {2}do: {4}\S/m);
  return stderr;
}

const commands = [['run', join(root, 'configs/batch.yaml')], ['worker']];

test.each(commands)('%s without BullMQ says what to install', (...command) => {
  const hook = join(folder, 'hook.mjs');
  writeFileSync(
    hook,
    `import { registerHooks } from 'node:module';
registerHooks({
  resolve(name, context, next) {
    if (name === 'bullmq') throw Object.assign(new Error("Cannot find package 'bullmq'"), { code: 'ERR_MODULE_NOT_FOUND' });
    return next(name, context);
  },
});
`,
  );
  const text = refusal(command, 'redis://127.0.0.1', hook);
  expect(text).toContain('QUEUE_NOT_INSTALLED');
  expect(text).toContain('npm i bullmq ioredis');
});

test.each(commands)('%s with a server that is not there says so', async (...command) => {
  const port = await freePort();
  const text = refusal(command, `redis://user:secret@127.0.0.1:${port}`);
  expect(text).toContain('QUEUE_UNREACHABLE');
  expect(text).toContain(`127.0.0.1:${port}`);
  expect(text).not.toContain('secret');
});

test.each(commands)('%s with an address of no queue says what one looks like', (...command) => {
  expect(refusal(command, 'http://127.0.0.1')).toContain('QUEUE_URL');
});
