import { expect, test } from 'vitest';
import { findOutliers } from '../../src/report/outliers.ts';
import { buildReport } from './helpers/build-report.ts';

test('a sound model has none', () => {
  expect(findOutliers(buildReport())).toEqual([]);
  expect(findOutliers(buildReport({ error: 0 }))).toEqual([]);
});

test('one bad expert is named', () => {
  const report = buildReport();
  report.layers[2].experts[7].sqnrDb = 3;
  expect(findOutliers(report)).toMatchObject([{ layer: 'L2', expert: '7', place: 'L2 expert 7' }]);
  report.layers[2].experts[7].id = 'L2.E7';
  expect(findOutliers(report)).toMatchObject([{ place: 'expert L2.E7' }]);
});

test('an expert whose output is not finite comes first, and leaves the others their median', () => {
  const report = buildReport();
  const { experts } = report.layers[2];
  experts[3] = { ...experts[3], sqnrDb: Number.NaN, notFinite: 2, tokens: 5 };
  experts[7].sqnrDb = -20;
  expect(findOutliers(report)).toMatchObject([
    { place: 'L2 expert 3', finding: 'its output is not finite for 2 of 5 tokens' },
    { place: 'L2 expert 7' },
  ]);
});

test('a router that chooses differently on the same input is named, without an expert', () => {
  const report = buildReport();
  report.layers[1].router.local.topKAgreement = 0.7;
  const [outlier, ...others] = findOutliers(report);
  expect(others).toEqual([]);
  expect(outlier).toMatchObject({ layer: 'L1', finding: expect.stringContaining('agreement 0.7000') });
  expect(outlier.expert).toBeUndefined();
});

test('a layer whose experts are all bad is one finding, and the worst comes first', () => {
  const report = buildReport();
  report.layers[0].experts = report.layers[0].experts.map((expert) => ({ ...expert, sqnrDb: 5 }));
  report.layers[2].experts[7].sqnrDb = -20;
  expect(findOutliers(report).map(({ layer, expert }) => [layer, expert])).toEqual([
    ['L2', '7'],
    ['L0', undefined],
  ]);
});

test('one layer alone or experts without tokens accuse nobody', () => {
  expect(findOutliers(buildReport({ layers: 1 }))).toEqual([]);
  const report = buildReport();
  report.layers[0].experts = report.layers[0].experts.map((expert) => ({
    ...expert,
    tokens: 0,
    sqnrDb: null,
  }));
  expect(findOutliers(report)).toEqual([]);
});

test('experts whose tokens go elsewhere on the same input are named, unless they have hardly any', () => {
  const report = buildReport();
  const [layer] = report.layers;
  layer.experts = layer.experts.map((expert) => ({
    ...expert,
    tokens: 100,
    kept: { local: 1, cumulative: 0.9 },
  }));
  layer.experts[3].kept = { local: 0.1, cumulative: 0.1 };
  layer.experts[4] = { ...layer.experts[4], tokens: 3, kept: { local: 0, cumulative: 0 } };
  expect(findOutliers(report)).toMatchObject([
    { layer: 'L0', expert: '3', finding: expect.stringContaining('keeps 10 of 100 tokens') },
  ]);
});

test('one layer alone is named when nothing is left of its experts', () => {
  const report = buildReport({ layers: 1 });
  const [layer] = report.layers;
  layer.experts = layer.experts.map((expert) => ({ ...expert, sqnrDb: 0.5 }));
  expect(findOutliers(report)).toMatchObject([{ layer: 'L0', place: 'L0' }]);
});
