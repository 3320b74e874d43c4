import type { QuantizeConfig } from '../config/schema.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { schemeOf } from '../quantize/scheme.ts';
import { needsHessian } from './layer/rounding.ts';
import { fewestSmoothed, smoothsHidden } from './layer/smooth-hidden.ts';
import { needsRecords } from './needs-records.ts';
import type { DoneLayer, WrittenModel } from './write-experts.ts';

/** Names that a note lists before it counts. */
const namesShown = 8;

/**
 * What was done otherwise than a config asks, or not at all, and why; for the report. `unrealigned`: see
 * `whyNotRealigned`.
 */
export function deviations(
  { layers }: WrittenModel,
  config: QuantizeConfig,
  unrealigned: string | null,
): string[] {
  const { enabled, shift } = config.smoothing;
  return [
    ...smoothingNotes(layers, config),
    ...inputs.flatMap((input) => widthNotes(layers, config, input)),
    ...(shift === true && !enabled
      ? ['smoothing.shift: nothing is shifted while smoothing.enabled is false']
      : []),
    ...poolNotes(config),
    ...(unrealigned ? [`router.realign: auto did nothing, since ${unrealigned}`] : []),
  ];
}

function smoothingNotes(layers: readonly DoneLayer[], config: QuantizeConfig): string[] {
  const experts = layers.flatMap(({ stats }) => stats?.experts ?? []);
  const isSmoothed = smoothsHidden(config);
  return [
    ...about(
      experts.filter(({ tokens }) => tokens === 0 && needsHessian(config)),
      'expert',
      `without a calibration token, rounded by ${fitOf(config)} alone`,
    ),
    ...about(
      experts.filter(({ tokens }) => tokens > 0 && tokens < fewestSmoothed && isSmoothed),
      'expert',
      `with fewer than ${fewestSmoothed} calibration tokens, not smoothed before down`,
    ),
    ...aboutLayers(
      layers.filter(({ layer, stats }) => stats !== null && isSmoothed && !smoothsHidden(config, layer)),
      'not smoothed before down: the activation of the experts passes no scale on',
    ),
    ...aboutLayers(
      layers.filter(({ folding }) => folding === 'multiplied'),
      'smoothed by an extra multiplication: no norm before can take the scales',
    ),
  ];
}

/** Rows that linears read. */
interface LinearsInput {
  linears: string;
  width: 'hidden' | 'intermediate';
  /** Their key in the config, and in what was settled. */
  rotation: readonly ['input', 'input'] | readonly ['down', 'hidden'];
}

const inputs: readonly LinearsInput[] = [
  { linears: 'gate and up', width: 'hidden', rotation: ['input', 'input'] },
  { linears: 'down', width: 'intermediate', rotation: ['down', 'hidden'] },
];

/** What no number divides as it was meant to be divided. */
function widthNotes(
  layers: readonly DoneLayer[],
  config: QuantizeConfig,
  { linears, width, rotation: [asked, settled] }: LinearsInput,
): string[] {
  const { target, block, gridOf, groupsOf } = resolveTarget(config);
  const group = target === 'int' && typeof config.group === 'number' ? config.group : null;
  const wholeIn = (partOf: (width: number) => number | undefined, limit: number | null): DoneLayer[] =>
    layers.filter(({ layer }) => isWhole(layer[width], partOf(layer[width]), limit));
  return [
    ...aboutLayers(
      layers.filter(({ rotation }) => config.rotation[asked] === 'hadamard' && rotation[settled] === null),
      `not rotated before ${linears}: ${whyNotRotated(config)}`,
    ),
    ...aboutLayers(
      wholeIn((channels) => gridOf(channels)?.block, block),
      `with one grid per token before ${linears}: ${whyWhole(block)}`,
    ),
    ...aboutLayers(
      wholeIn((channels) => groupsOf(channels).groupSize, group),
      `with one scale per channel in ${linears}: ${whyWhole(group)}`,
    ),
  ];
}

/** True where a width was to be divided into parts of at most `limit`, and no number near it divides it. */
function isWhole(width: number, part: number | undefined, limit: number | null): boolean {
  return limit !== null && width > limit && part === width;
}

function whyWhole(limit: number | null): string {
  return `no number from ${Math.ceil(limit! / 2)} to ${limit} divides the width`;
}

/** Hadamard matrices have an even order, or that of one. */
function whyNotRotated({ rotation }: QuantizeConfig): string {
  return rotation.block === 1 ? 'a block of one channel stays as it is' : 'the width is odd';
}

function poolNotes(config: QuantizeConfig): string[] {
  const { pool, enabled } = config.calibration.balance;
  if (pool === null || (enabled && needsRecords(config))) return [];
  const why = enabled ? 'the recipe is not calibrated on records' : 'calibration.balance.enabled is false';
  return [`calibration.balance.pool: no record is taken from it, since ${why}`];
}

/** How a weight is rounded of whose input nothing is known. */
function fitOf({ scheme }: QuantizeConfig): string {
  return schemeOf(scheme).weight.ternary ? 'the exact fit of the weights' : 'clip search';
}

function aboutLayers(those: readonly DoneLayer[], what: string): string[] {
  const layers = those.map(({ layer }) => layer);
  return about(layers, 'layer', what);
}

function about(those: readonly Pick<MoeLayer, 'id'>[], kind: 'expert' | 'layer', what: string): string[] {
  if (those.length === 0) return [];
  const names = those.slice(0, namesShown).map(({ id }) => id);
  const rest = those.length - names.length;
  const list = `${names.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
  return [`${those.length} ${kind}${those.length === 1 ? '' : 's'} ${what} (${list})`];
}
