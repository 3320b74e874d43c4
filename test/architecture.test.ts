import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect, test } from 'vitest';

/** Which rooms a room may import, from the bottom up. The numerics in `quantize` stay free of graphs and files. */
const allowed: Record<string, readonly string[]> = {
  fault: [],
  version: [],
  files: ['fault'],
  tensor: ['fault'],
  onnx: ['fault', 'files', 'tensor'],
  quantize: ['fault', 'tensor'],
  data: ['fault', 'tensor', 'onnx'],
  report: ['fault', 'quantize', 'moe'],
  config: ['fault', 'quantize'],
  runtime: ['fault', 'files', 'tensor', 'onnx'],
  moe: ['fault', 'tensor', 'onnx'],
  run: ['fault', 'files', 'tensor', 'onnx', 'moe', 'data', 'runtime'],
  emit: ['fault', 'tensor', 'onnx', 'moe', 'quantize'],
  calibrate: ['fault', 'files', 'tensor', 'onnx', 'moe', 'emit', 'data', 'runtime', 'run'],
  verify: ['fault', 'files', 'tensor', 'onnx', 'moe', 'emit', 'data', 'runtime', 'run', 'report'],
  pipeline: [
    'fault',
    'version',
    'files',
    'tensor',
    'onnx',
    'quantize',
    'data',
    'report',
    'config',
    'runtime',
    'run',
    'moe',
    'emit',
    'calibrate',
    'verify',
  ],
};
/** These may import anything below them. */
const top = new Set(['jobs', 'cli', 'index']);

const source = join(import.meta.dirname, '..', 'src');

function roomOf(path: string): string {
  return relative(source, path).split(/[\\/]/)[0].replace(/\.ts$/, '');
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/from '(\.[^']+)'/g)].map(([, path]) => roomOf(join(dirname(file), path)));
}

const files = globSync('**/*.ts', { cwd: source }).map((path) => join(source, path));

test('every room imports only the rooms below it', () => {
  const violations = files.flatMap((file) => {
    const room = roomOf(file);
    if (top.has(room)) return [];
    const wrong = importsOf(file).filter((other) => other !== room && !allowed[room]?.includes(other));
    return wrong.map((other) => `${relative(source, file)} imports ${other}`);
  });
  expect(files.length).toBeGreaterThan(50);
  expect(violations).toEqual([]);
});

test('in moe, what is known of a graph comes before what rewrites it, and that before the rules', () => {
  const order = ['graph', 'rewrite', 'rules'];
  const wrong = order.flatMap((folder, at) => {
    const texts = globSync(`moe/${folder}/*.ts`, { cwd: source }).map((path) =>
      readFileSync(join(source, path), 'utf8'),
    );
    expect(texts.length).toBeGreaterThan(3);
    return order.slice(at + 1).filter((later) => texts.some((text) => text.includes(`from '../${later}/`)));
  });
  expect(wrong).toEqual([]);
});

test('only cli is imported by nobody, and only runtime knows ONNX Runtime', () => {
  const intoCli = files.filter((file) => roomOf(file) !== 'cli' && importsOf(file).includes('cli'));
  const usesOrt = files.filter((file) => /['"]onnxruntime-node['"]/.test(readFileSync(file, 'utf8')));
  expect(intoCli).toEqual([]);
  expect(usesOrt.map(roomOf)).toEqual(['runtime']);
});

test('only cli prints and sets the exit code', () => {
  const prints = files.filter((file) =>
    /console\.|process\.std(?:out|err)|process\.exit/.test(readFileSync(file, 'utf8')),
  );
  expect([...new Set(prints.map(roomOf))]).toEqual(['cli']);
});
