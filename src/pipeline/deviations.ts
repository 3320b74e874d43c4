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
  const experts = layers.flatMap(({ stats }) => stats?.experts ?? []);
  const isSmoothed = smoothsHidden(config);
  const { enabled, shift } = config.smoothing;
  const { target, block, gridOf, groupsOf } = resolveTarget(config);
  const group = target === 'int' && typeof config.group === 'number' ? config.group : null;
  const layersThat = (isMeant: (done: DoneLayer) => boolean): MoeLayer[] =>
    layers.filter(isMeant).map(({ layer }) => layer);
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
    ...about(
      layersThat(({ layer, stats }) => stats !== null && isSmoothed && !smoothsHidden(config, layer)),
      'layer',
      'not smoothed before down: the activation of the experts passes no scale on',
    ),
    ...about(
      layersThat(({ folding }) => folding === 'multiplied'),
      'layer',
      'smoothed by an extra multiplication: no norm before can take the scales',
    ),
    ...about(
      layersThat(({ rotation }) => config.rotation.input === 'hadamard' && rotation.input === null),
      'layer',
      `not rotated before gate and up: ${whyNotRotated(config)}`,
    ),
    ...about(
      layersThat(({ rotation }) => config.rotation.down === 'hadamard' && rotation.hidden === null),
      'layer',
      `not rotated before down: ${whyNotRotated(config)}`,
    ),
    ...about(
      layersThat(({ layer: { hidden } }) => isWhole(hidden, gridOf(hidden)?.block, block)),
      'layer',
      `with one grid per token before gate and up: ${whyWhole(block)}`,
    ),
    ...about(
      layersThat(({ layer: { intermediate } }) => isWhole(intermediate, gridOf(intermediate)?.block, block)),
      'layer',
      `with one grid per token before down: ${whyWhole(block)}`,
    ),
    ...about(
      layersThat(({ layer: { hidden } }) => isWhole(hidden, groupsOf(hidden).groupSize, group)),
      'layer',
      `with one scale per channel in gate and up: ${whyWhole(group)}`,
    ),
    ...about(
      layersThat(({ layer: { intermediate } }) =>
        isWhole(intermediate, groupsOf(intermediate).groupSize, group),
      ),
      'layer',
      `with one scale per channel in down: ${whyWhole(group)}`,
    ),
    ...(shift === true && !enabled
      ? ['smoothing.shift: nothing is shifted while smoothing.enabled is false']
      : []),
    ...poolNotes(config),
    ...(unrealigned ? [`router.realign: auto did nothing, since ${unrealigned}`] : []),
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

function about(those: readonly Pick<MoeLayer, 'id'>[], kind: 'expert' | 'layer', what: string): string[] {
  if (those.length === 0) return [];
  const names = those.slice(0, namesShown).map(({ id }) => id);
  const rest = those.length - names.length;
  const list = `${names.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
  return [`${those.length} ${kind}${those.length === 1 ? '' : 's'} ${what} (${list})`];
}
