import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  copyFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { builder } from '../../src/onnx/build.ts';
import { Graph } from '../../src/onnx/graph.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { saveModel } from '../../src/onnx/save-model.ts';
import { Value } from '../../src/onnx/value.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import { serializeReport } from '../../src/report/report.ts';
import { root, runCli } from '../helpers/run-cli.ts';
import { buildReport } from '../report/helpers/build-report.ts';

const model = join(root, 'test/fixtures/models/tasks-olmoe/batched.dyn.onnx');
const data = join(root, 'calib-data/tasks-calib.jsonl');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moeq-cli-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Expects exit code 2, exactly one error with this code and place, and a remedy. */
function expectRefusal(args: string[], code: string, place: string): void {
  const files = readdirSync(folder);
  const { code: exit, stdout, stderr } = runCli(...args);
  expect({ exit, stdout }).toEqual({ exit: 2, stdout: '' });
  const errors = stderr.split('\n').filter((line) => /^[A-Z][A-Z0-9_]+: /.test(line));
  expect(errors).toHaveLength(1);
  expect(errors[0]).toMatch(new RegExp(`^${code}: `));
  expect(stderr).toContain(place);
  expect(stderr).toMatch(/^ {2}do: {4}\S/m);
  expect(readdirSync(folder)).toEqual(files);
}

/** A model of one linear: valid, and without a MoE. */
function plainModel(): string {
  const graph = new Graph('plain');
  const input = new Value(graph.uniqueName('x'), {
    name: 'x',
    type: { tensorType: { elemType: 1, shape: { dim: [{ dimParam: 'n' }, { dimValue: 2 }] } } },
  });
  graph.inputs.push(input);
  const b = builder(graph, '');
  const output = b.op('MatMul', [input, b.constant('w', 'float32', [2, 2], [1, 2, 3, 4])]);
  output.info = { name: output.name, type: { tensorType: { elemType: 1 } } };
  graph.outputs = [output];
  const path = join(folder, 'plain.onnx');
  saveModel(
    {
      path,
      byteLength: 0,
      graph,
      irVersion: 10,
      opsets: new Map([['', 21]]),
      metadata: [],
      functions: [],
      proto: {},
    },
    path,
  );
  return path;
}

function outputPath(): string {
  return join(folder, 'out.onnx');
}

describe('bad input ends in one clear error, exit code 2 and no output', () => {
  test('a truncated model', () => {
    const path = join(folder, 'cut.onnx');
    copyFileSync(model, path);
    truncateSync(path, 100_000);
    expectRefusal(['quantize', path, '-o', outputPath(), '--data', data], 'ONNX_TRUNCATED', path);
    expectRefusal(['inspect', path], 'ONNX_TRUNCATED', path);
  });

  test('a file that is no ONNX', () => {
    const path = join(folder, 'readme.onnx');
    writeFileSync(path, readFileSync(join(root, 'package.json')));
    const { code, stderr } = runCli('inspect', path);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^ONNX_(?:MALFORMED|TRUNCATED): /);
  });

  test('a file that does not exist', () => {
    const path = join(folder, 'missing.onnx');
    expectRefusal(['inspect', path], 'FILE_MISSING', path);
    expectRefusal(['verify', model, path, '--data', data], 'FILE_MISSING', path);
  });

  test('a model without MoE: quantize refuses, inspect reports none', () => {
    const path = plainModel();
    expectRefusal(['quantize', path, '-o', outputPath(), '--data', data], 'MOE_NONE', path);
    const { code, stdout } = runCli('inspect', path, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ layers: [], rejected: [] });
  });

  test('missing data', () => {
    const path = join(folder, 'none.jsonl');
    expectRefusal(['quantize', model, '-o', outputPath(), '--data', path], 'DATA_NOT_FOUND', path);
    expectRefusal(['quantize', model, '-o', outputPath()], 'DATA_REQUIRED', '--data');
    const ternary = ['quantize', model, '-o', outputPath(), '--scheme', 'ternary'];
    expectRefusal(ternary, 'DATA_REQUIRED', '--set ternary.fit=exact --set ternary.compensate=false');
  });

  test('a wrong config key, in a file and as a flag', () => {
    const path = join(folder, 'config.yaml');
    writeFileSync(path, 'scheme: w4a4\nsmothing:\n  alpha: 0.5\n');
    expectRefusal(
      ['quantize', model, '-o', outputPath(), '-c', path, '--data', data],
      'CONFIG_UNKNOWN_KEY',
      `${path}:2`,
    );
    expectRefusal(
      ['quantize', model, '-o', outputPath(), '--set', 'rouding.method=rtn'],
      'CONFIG_UNKNOWN_KEY',
      'rouding',
    );
  });

  test('a gate that no report can have, told before the data is read', () => {
    const none = ['--data', join(folder, 'none.jsonl')];
    const gate = ['--set', 'gates.min.topkAgreement=0.9'];
    expectRefusal(['quantize', model, '-o', outputPath(), ...none, ...gate], 'GATE_UNKNOWN', 'topkAgreement');
    const verify = ['verify', model, model, ...none, '--max', 'layers.L0.router.local.mze=1'];
    expectRefusal(verify, 'GATE_UNKNOWN', 'mze');
    const task = ['verify', model, model, '--data', data, '--min', 'task.nothere=1'];
    expectRefusal(task, 'GATE_UNKNOWN', 'nothere');
  });

  test('a token that the model does not know', () => {
    const path = join(folder, 'umlaut.jsonl');
    writeFileSync(path, '{"text": "abc"}\n{"text": "äbc"}\n');
    expectRefusal(['quantize', model, '-o', outputPath(), '--data', path], 'DATA_VOCABULARY', `${path}:2`);
  });

  test('an output that exists already', () => {
    const path = join(folder, 'out.onnx');
    writeFileSync(path, 'mine');
    expectRefusal(['quantize', model, '-o', path, '--data', data], 'OUTPUT_EXISTS', path);
    expect(readFileSync(path, 'utf8')).toBe('mine');
  });

  test('weights of another model where those of the output would go, and what is no file', () => {
    const weights = join(folder, 'out.onnx.data');
    writeFileSync(weights, 'mine');
    const quantize = ['quantize', model, '-o', outputPath(), '--data', join(folder, 'none.jsonl')];
    const always = [...quantize, '--set', 'output.externalData=always'];
    expectRefusal(always, 'OUTPUT_EXISTS', weights);
    mkdirSync(outputPath());
    expectRefusal([...quantize, '--force'], 'OUTPUT_EXISTS', 'the output is a folder');
    const none = join(folder, 'none.onnx');
    expectRefusal(['quantize', none, '-o', weights, '--force'], 'FILE_MISSING', none);
  });

  test('results that have no place, told before the work', () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    const below = join(file, 'below');
    const quantize = ['quantize', model, '-c', 'configs/rtn.yaml', '--data', data];
    expectRefusal([...quantize, '-o', join(below, 'out.onnx')], 'OUTPUT_FAILED', below);
    expectRefusal([...quantize, '-o', outputPath(), '--report', below], 'OUTPUT_FAILED', below);
    const verify = ['verify', model, model, '--data', data];
    expectRefusal([...verify, '--report', below], 'OUTPUT_FAILED', below);
    expectRefusal([...verify, '--markdown', join(below, 'a.md')], 'OUTPUT_FAILED', below);
    const report = join(folder, 'report.json');
    writeFileSync(report, serializeReport(buildReport()));
    for (const flag of ['--markdown', '--junit'])
      expectRefusal(['diff', report, report, flag, join(below, 'a')], 'OUTPUT_FAILED', below);
    const batch = join(folder, 'batch.yaml');
    writeFileSync(batch, `output: file/below\nmodels: [${JSON.stringify(model)}]\nrecipes: { rtn: {} }\n`);
    expectRefusal(['run', batch], 'OUTPUT_FAILED', below);
  });

  test('an output whose weights would lie where those of the model do', () => {
    const source = join(folder, 'renamed.onnx');
    const opened = openModel(model);
    writeModel(opened, join(folder, 'taken.onnx'), { externalData: true });
    renameSync(join(folder, 'taken.onnx'), source);
    const path = join(folder, 'taken.onnx');
    const weights = readFileSync(`${path}.data`);
    expectRefusal(
      ['quantize', source, '-o', path, '-c', 'configs/rtn.yaml', '--force'],
      'OUTPUT_EXISTS',
      `${path}.data`,
    );
    expect(readFileSync(`${path}.data`).equals(weights)).toBe(true);
  });

  test.skipIf(!existsSync('/dev/full'))('a result that cannot be printed is no verdict', () => {
    const main = join(root, 'src/cli/main.ts');
    const script = '"$0" "$@" > /dev/full';
    const { status, stderr } = spawnSync('sh', ['-c', script, process.execPath, main, 'schema', 'batch'], {
      encoding: 'utf8',
    });
    expect(stderr).toContain('DISK_FULL');
    expect(status).toBe(2);
  });

  test('a reader of standard error that is gone changes nothing', () => {
    const main = join(root, 'src/cli/main.ts');
    const script = '{ "$0" "$@" 2>&1 >/dev/null; echo $? > "$CODE"; } | head -c 1';
    const args = [main, 'quantize', model, '-c', join(root, 'configs/rtn.yaml'), '-o', outputPath()];
    const env = { ...process.env, CODE: join(folder, 'code') };
    spawnSync('sh', ['-c', script, process.execPath, ...args], { env });
    expect(readFileSync(env.CODE, 'utf8')).toBe('0\n');
    expect(existsSync(outputPath())).toBe(true);
  });

  test('a quantized model without experts to compare', () => {
    const path = plainModel();
    expectRefusal(['verify', model, path, '--data', data], 'MOE_NONE', path);
  });

  test('an unknown command or flag', () => {
    expectRefusal(['quantise', model], 'USAGE', 'quantise');
    expectRefusal(['inspect', model, '--jsn'], 'USAGE', 'jsn');
    expectRefusal(['quantize', model, '--schme', 'w4a4'], 'USAGE', 'see "moeq quantize --help"');
  });

  test('a flag that was given twice, or to nothing', () => {
    const out = outputPath();
    expectRefusal(['quantize', model, '-o', out, '-o', out], 'USAGE', '-o was given 2 times');
    expectRefusal(['quantize', model, '--report', ''], 'USAGE', '--report is empty');
  });

  test('records that verify would pass over', () => {
    const verify = ['verify', model, model, '--data', data, '--set', 'verify.data=others.jsonl'];
    expectRefusal(verify, 'USAGE', '--set verify.data=others.jsonl');
  });
});
