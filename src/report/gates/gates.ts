import { Fault } from '../../fault.ts';
import { layerMetricNames, listMeasurements } from '../measurements.ts';
import type { Gate, Report } from '../report.ts';
import { behind } from './gate-keys.ts';
import type { Limits } from './limits.ts';

interface Reading {
  where: string;
  value: number;
}

/**
 * Holds a report against limits. A key is the name of a measurement (`topKAgreement`, `local.kl`, `task.add`,
 * `task.*`, `expert.sqnrDb`, …) or a dotted path into the report, where `layers.experts.tokens` means every
 * layer and expert and `layers.L0.router.local.mse` one of them. Where a key has several values every one must
 * hold, so the gate shows the worst. A figure that could not be measured fails its gate and says so.
 * @throws Fault `GATE_UNKNOWN` for a key that names nothing in this report.
 */
export function evaluateGates(report: Report, limits: { min: Limits; max: Limits }): Gate[] {
  const readings = readingsByKey(report);
  const evaluate = (bound: 'min' | 'max') =>
    Object.entries(limits[bound]).map(([name, limit]) =>
      evaluateGate(name, bound, limit, findReadings(name, readings, report), unseenNote(name, report)),
    );
  return [...evaluate('min'), ...evaluate('max')];
}

function evaluateGate(
  name: string,
  bound: 'min' | 'max',
  limit: number,
  readings: Reading[],
  note: string,
): Gate {
  const { value, where } = worstReading(readings, bound);
  const why = Number.isNaN(value) ? 'not measured' : note;
  const ok = bound === 'min' ? value >= limit : value <= limit;
  return { name, limit, value, ok, bound, ...(where && { where }), ...(why && { why }) };
}

/** NaN counts as the worst of all; no reading at all is NaN. */
function worstReading(readings: Reading[], bound: 'min' | 'max'): Reading {
  let worst: Reading = readings[0] ?? { where: '', value: Number.NaN };
  for (const reading of readings) {
    if (Number.isNaN(worst.value)) break;
    const worse = bound === 'min' ? reading.value < worst.value : reading.value > worst.value;
    if (worse || Number.isNaN(reading.value)) worst = reading;
  }
  return worst;
}

function readingsByKey(report: Report): Map<string, Reading[]> {
  const unmeasured = layerMetricNames.map((name): [string, Reading[]] => [name, []]);
  const measured = Map.groupBy<string, Reading & { metric: string }>(
    listMeasurements(report),
    ({ metric }) => metric,
  );
  const tasks = Object.entries(report.tasks).map(([where, { quantized }]) => ({ where, value: quantized }));
  return new Map<string, Reading[]>([...unmeasured, ...measured, ['task.*', tasks]]);
}

function findReadings(name: string, byKey: Map<string, Reading[]>, report: Report): Reading[] {
  const named = byKey.get(name) ?? byKey.get(name.replace(/^cumulative\./, ''));
  const found = named ?? readPath(report, `.${name}`, []);
  if (!named && found.length === 0) throw unknownKey(name, [...byKey.keys()]);
  return found;
}

/** @param path what is left of a dotted path, each name behind a dot */
function readPath(value: unknown, path: string, where: string[]): Reading[] {
  if (path === '') return readLeaf(value, where);
  if (Array.isArray(value)) return readList(value, path, where);
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([name, part]) => {
    const rest = behind(path, name);
    return rest === null ? [] : readPath(part, rest, where);
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function readLeaf(value: unknown, where: string[]): Reading[] {
  if (typeof value !== 'number' && typeof value !== 'boolean' && value !== null) return [];
  return [{ where: where.join(' '), value: value === null ? Number.NaN : Number(value) }];
}

/** An element by its id, role or position if the path names one, every element otherwise. */
function readList(list: unknown[], path: string, where: string[]): Reading[] {
  const names = list.map(nameOf);
  const index = names.findIndex((name) => behind(path, name) !== null);
  if (index >= 0) return readPath(list[index], behind(path, names[index])!, [...where, names[index]]);
  return list.flatMap((element, i) => readPath(element, path, [...where, names[i]]));
}

function nameOf(element: unknown, index: number): string {
  const name = isObject(element) ? (element.id ?? element.role) : undefined;
  return typeof name === 'string' ? name : String(index);
}

function unseenNote(name: string, { layers }: Report): string {
  if (name !== 'expert.sqnrDb') return '';
  const unseen = layers.flatMap(({ experts }) => experts).filter(({ tokens }) => tokens === 0).length;
  return unseen === 0 ? '' : `experts without a token are not judged: ${unseen}`;
}

export function unknownKey(name: string, known: readonly string[]): Fault {
  return new Fault({
    code: 'GATE_UNKNOWN',
    what: `the report holds no metric "${name}"`,
    why: `known are ${known.join(', ')}`,
    remedy: 'use one of these or a dotted path into the report, such as size.quantizedBytes',
  });
}
