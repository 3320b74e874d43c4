import { median } from './median.ts';
import type { Report } from './report.ts';

export type CoverageState = 'covered' | 'starved' | 'unseen';

/** How many tokens the experts of one layer got. */
export interface LayerCoverage {
  id: string;
  /** Whose tokens are counted: calibration, or the evaluation where the report knows nothing of a calibration. */
  source: 'calibration' | 'evaluation';
  /** Tokens an expert needs; null when no calibration set a floor, and then none is starved. */
  floor: number | null;
  experts: { id: string; tokens: number; state: CoverageState }[];
  min: number;
  median: number;
  max: number;
}

/** Tokens per expert for every layer, judged by the calibration's floor. */
export function layerCoverage(report: Report): LayerCoverage[] {
  return report.layers.map((layer) => {
    const calibrated = layer.experts.every(({ calibrationTokens }) => calibrationTokens !== null);
    const floor = report.calibration?.layers.find(({ id }) => id === layer.id)?.floor ?? null;
    const experts = layer.experts.map(({ id, tokens, calibrationTokens }) => {
      const counted = calibrated ? (calibrationTokens ?? 0) : tokens;
      return { id, tokens: counted, state: coverageState(counted, calibrated ? floor : null) };
    });
    const tokens = experts.map((expert) => expert.tokens);
    return {
      id: layer.id,
      source: calibrated ? 'calibration' : 'evaluation',
      floor: calibrated ? floor : null,
      experts,
      min: Math.min(...tokens),
      median: median(tokens),
      max: Math.max(...tokens),
    };
  });
}

/** How many experts of a layer are in a state. */
export function countState(coverage: LayerCoverage, state: CoverageState): number {
  return coverage.experts.filter((expert) => expert.state === state).length;
}

function coverageState(tokens: number, floor: number | null): CoverageState {
  if (tokens === 0) return 'unseen';
  return floor !== null && tokens < floor ? 'starved' : 'covered';
}
