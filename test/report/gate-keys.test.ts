import { expect, test } from 'vitest';
import { requireKnownGates, requireKnownTasks } from '../../src/report/gates/gate-keys.ts';
import { listMeasurements } from '../../src/report/measurements.ts';
import { buildReport } from './helpers/build-report.ts';

const check = (name: string) => requireKnownGates({ min: {}, max: { [name]: 1 } });

const measured = listMeasurements(buildReport()).map(({ metric }) => metric);

test.each([
  ...new Set(measured),
  'cumulative.kl',
  'task.*',
  'task.a.b',
  'tasks.a.b.quantized',
  'layers.experts.tokens',
  'layers.L7.experts.L7.E3.sqnrDb',
  'layers.L1.router.local.mse',
  'census.router.keptBytes',
  'attribution.routing.kl',
  'output.perplexity.quantized',
  'recipe.rounding.damping',
  'execution.executed',
])('a report may hold %s', (name) => {
  expect(() => check(name)).not.toThrow();
});

test.each([
  'topkAgreement',
  'output.klx',
  'output.kl.x',
  'layers.L0.router.local.mze',
  'layers.L0.experts.L0.E3.sqnr',
  'tasks.add',
  'reference.path',
  '',
])('"%s" is no path of any report', (name) => {
  expect(() => check(name)).toThrow(/GATE_UNKNOWN[\s\S]*known are topKAgreement.*task\.NAME/);
});

const checkTasks = (name: string): void => requireKnownTasks({ min: { [name]: 0 }, max: {} }, ['add', 'a.b']);

test.each(['task.add', 'task.a.b', 'task.*', 'task.mean', 'tasks.a.b.quantized', 'topKAgreement'])(
  'records of the tasks add and a.b can be held against %s',
  (name) => {
    expect(() => checkTasks(name)).not.toThrow();
  },
);

test.each(['task.ad', 'task.b', 'task.mean.x', 'tasks.c.quantized', 'tasks.mean.quantized'])(
  '%s is a task of no record',
  (name) => {
    expect(() => checkTasks(name)).toThrow(/GATE_UNKNOWN[\s\S]*the tasks of the records are add, a\.b/);
  },
);
