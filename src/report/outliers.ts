import { formatAmount, formatCount, formatDecibels, formatShare } from './format.ts';
import { expertPlace } from './measurements.ts';
import { measured, median } from './median.ts';
import type { LayerReport, Report } from './report.ts';

/** A layer or expert far worse than its siblings: the first place to look. */
export interface Outlier {
  layer: string;
  /** Absent when the whole layer stands out. */
  expert?: string;
  /** The two in words. */
  place: string;
  /** One sentence with the value and what is typical. */
  finding: string;
  /** How many tolerances it lies beyond the typical value; orders the list. */
  severity: number;
}

/** An expert or layer stands out from this many dB below the median of its siblings … */
const decibelTolerance = 6;
/** … a layer alone from here on: the error is half as large as what the experts compute. */
const lostDecibels = 3;
/** … a router from this much less agreement than the median layer … */
const agreementTolerance = 0.05;
/** … and one of its columns when its expert keeps this much less of its tokens than its siblings … */
const keptTolerance = 0.2;
/** … and loses at least so many: fewer prove nothing. */
const leastLost = 5;

/**
 * Layers and experts that stand out from their siblings, worst first: experts whose outputs are not finite, experts by
 * SQNR and by the tokens the router leaves them within their layer, layers by the median SQNR of their experts and by
 * router agreement. Routers are judged on the reference's own input: cumulative agreement falls with depth in any model,
 * so it accuses nobody.
 */
export function findOutliers({ layers }: Report): Outlier[] {
  const found = [
    ...routerOutliers(layers),
    ...layers.flatMap(columnOutliers),
    ...layerOutliers(layers),
    ...layers.flatMap(expertOutliers),
    ...layers.flatMap(lostExperts),
  ];
  return found.toSorted((a, b) => b.severity - a.severity);
}

function routerOutliers(layers: LayerReport[]): Outlier[] {
  const agreements = layers.map(({ router }) => router.local.topKAgreement);
  const typical = median(agreements);
  return layers.flatMap(({ id }, i) => {
    const severity = (typical - agreements[i]) / agreementTolerance;
    if (!(severity > 1)) return [];
    const values = `${formatShare(agreements[i])}, typical is ${formatShare(typical)}`;
    return [
      {
        layer: id,
        place: id,
        finding: `the router chooses other experts on the same input (agreement ${values})`,
        severity,
      },
    ];
  });
}

function layerOutliers(layers: LayerReport[]): Outlier[] {
  const medians = layers.map(({ experts }) => medianSqnr(experts));
  const typical = median(medians.filter((value) => !Number.isNaN(value)));
  return layers.flatMap(({ id }, i) => {
    const expected = Math.max(typical, lostDecibels + decibelTolerance);
    const severity = (expected - medians[i]) / decibelTolerance;
    if (!(severity > 1)) return [];
    const others = layers.length > 1 ? `, typical of a layer is ${formatDecibels(typical)}` : '';
    const values = `${formatDecibels(medians[i])} at the median${others}`;
    return [
      { layer: id, place: id, finding: `every expert is far from the reference (${values})`, severity },
    ];
  });
}

function columnOutliers({ id: layer, experts }: LayerReport): Outlier[] {
  const shares = experts.flatMap(({ kept, tokens }) => (kept && tokens > 0 ? [kept.local] : []));
  const typical = median(shares);
  return experts.flatMap(({ id: expert, tokens, kept }) => {
    const local = kept?.local ?? Number.NaN;
    const severity = (typical - local) / keptTolerance;
    if (!(severity > 1 && (typical - local) * tokens >= leastLost)) return [];
    const left = formatCount(Math.round(local * tokens));
    const values = `it keeps ${left} of ${formatAmount(tokens, 'token')}, typical is a share of ${formatShare(typical)}`;
    return [
      {
        layer,
        expert,
        place: expertPlace(layer, expert),
        finding: `the router sends its tokens to others on the same input (${values})`,
        severity,
      },
    ];
  });
}

function expertOutliers({ id: layer, experts }: LayerReport): Outlier[] {
  const typical = medianSqnr(experts);
  return experts.flatMap(({ id: expert, sqnrDb }) => {
    const severity = sqnrDb === null ? 0 : (typical - sqnrDb) / decibelTolerance;
    if (!(severity > 1)) return [];
    const values = `SQNR ${formatDecibels(sqnrDb)}, typical of the layer is ${formatDecibels(typical)}`;
    return [
      {
        layer,
        expert,
        place: expertPlace(layer, expert),
        finding: `far from the reference (${values})`,
        severity,
      },
    ];
  });
}

function medianSqnr(experts: LayerReport['experts']): number {
  return median(measured(experts.map(({ sqnrDb }) => sqnrDb)));
}

function lostExperts({ id: layer, experts }: LayerReport): Outlier[] {
  return experts.flatMap(({ id: expert, tokens, notFinite = 0 }) => {
    if (notFinite === 0) return [];
    const finding = `its output is not finite for ${notFinite} of ${formatAmount(tokens, 'token')}`;
    return [{ layer, expert, place: expertPlace(layer, expert), finding, severity: Infinity }];
  });
}
