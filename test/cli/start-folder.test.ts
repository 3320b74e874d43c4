import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startFolder } from '../../src/cli/start-folder.ts';
import { root } from '../helpers/run-cli.ts';

test('npm run moeq in a folder of the checkout takes paths from there', () => {
  const cwd = join(root, 'test/fixtures/models/tasks-olmoe');
  const args = ['run', '-s', 'moeq', '--', 'inspect', 'loop.dyn.onnx', '--json'];
  const { status, stdout } = spawnSync('npm', args, { cwd, encoding: 'utf8' });
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ model: { path: 'loop.dyn.onnx' } });
});

test('scripts of other packages run where they are', () => {
  const script = { npm_lifecycle_event: 'moeq', INIT_CWD: '/elsewhere' };
  expect(startFolder({ ...script, npm_package_json: '/other/package.json' })).toBeNull();
  expect(startFolder({ ...script, npm_package_json: join(root, 'package.json') })).toBe('/elsewhere');
  expect(startFolder({ INIT_CWD: '/elsewhere' })).toBeNull();
});
