import { expertPlace } from './expert-place.ts';
import { formatDecibels, formatShare } from './format.ts';
import { median } from './median.ts';
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
/** … and a router from this much less agreement than the median layer. */
const agreementTolerance = 0.05;

/**
 * Layers and experts that stand out from their siblings, worst first: experts by SQNR within their layer, layers
 * by the median SQNR of their experts and by local router agreement (cumulative agreement falls with depth in
 * any model, so it accuses nobody).
 */
export function findOutliers({ layers }: Report): Outlier[] {
  const found = [...routerOutliers(layers), ...layerOutliers(layers), ...layers.flatMap(expertOutliers)];
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
  const medians = layers.map(({ experts }) => median(experts.flatMap(({ sqnrDb }) => sqnrDb ?? [])));
  const typical = median(medians.filter((value) => !Number.isNaN(value)));
  return layers.flatMap(({ id }, i) => {
    const severity = (typical - medians[i]) / decibelTolerance;
    if (!(severity > 1)) return [];
    const values = `${formatDecibels(medians[i])} at the median, ${formatDecibels(typical)} in other layers`;
    return [
      { layer: id, place: id, finding: `every expert is far from the reference (${values})`, severity },
    ];
  });
}

function expertOutliers({ id: layer, experts }: LayerReport): Outlier[] {
  const typical = median(experts.flatMap(({ sqnrDb }) => sqnrDb ?? []));
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
