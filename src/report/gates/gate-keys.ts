import { Fault } from '../../fault.ts';
import { layerMetricNames, modelMetricNames } from '../measurements.ts';
import { reportJsonSchema } from '../schema.ts';
import { unknownKey } from './gates.ts';
import type { Limits } from './limits.ts';

/** As much of a JSON Schema as tells which paths there are. */
interface Shape {
  type?: string | string[];
  properties?: Record<string, Shape>;
  additionalProperties?: Shape | false;
  items?: Shape;
  anyOf?: Shape[];
}

/**
 * Refuses gates that no report could have, before the work that a report takes; for names of tasks see `requireKnownTasks`.
 * Whether a layer of some name is there is only known then.
 * @throws Fault `GATE_UNKNOWN`
 */
export function requireKnownGates({ min, max }: { min: Limits; max: Limits }): void {
  const metrics = [...layerMetricNames, ...modelMetricNames];
  const paths = [...Object.keys(min), ...Object.keys(max)].filter((name) => {
    const plain = name.replace(/^cumulative\./, '');
    return !plain.startsWith('task.') && !metrics.includes(plain);
  });
  if (paths.length === 0) return;
  const shape: Shape = reportJsonSchema();
  const unknown = paths.find((path) => !leadsTo(shape, `.${path}`));
  if (unknown !== undefined) throw unknownKey(unknown, [...metrics, 'task.NAME']);
}

/**
 * Refuses gates on tasks that no record belongs to, before the work that a report takes.
 * @throws Fault `GATE_UNKNOWN`
 */
export function requireKnownTasks(
  { min, max }: { min: Limits; max: Limits },
  tasks: readonly string[],
): void {
  const isKnown = (key: string): boolean => {
    if (key === 'task.mean') return true;
    const rest = behind(`.${key}`, 'task') ?? behind(`.${key}`, 'tasks');
    return rest === null || rest === '.*' || tasks.some((task) => behind(rest, task) !== null);
  };
  const unknown = Object.keys({ ...min, ...max }).find((key) => !isKnown(key));
  if (unknown === undefined) return;
  const known = tasks.length === 0 ? 'none: no record has an answer' : tasks.join(', ');
  throw new Fault({
    code: 'GATE_UNKNOWN',
    what: `no record belongs to the task that the gate "${unknown}" names`,
    why: `the tasks of the records are ${known}`,
    remedy: 'name one of these, task.* for the worst, task.mean for all of them, or give other records',
  });
}

/** Whether a path may lead to a number in what a shape describes. */
function leadsTo(shape: Shape, path: string): boolean {
  const { type, properties = {}, additionalProperties, items, anyOf } = shape;
  if (anyOf) return anyOf.some((each) => leadsTo(each, path));
  if (path === '') return type !== 'object' && type !== 'array' && type !== 'string';
  const any = behindAny(path);
  const named = Object.entries(properties).some(([name, part]) => {
    const rest = behind(path, name);
    return rest !== null && leadsTo(part, rest);
  });
  const free = additionalProperties ?? (type === undefined ? shape : false);
  return (
    named ||
    (free !== false && any.some((rest) => leadsTo(free, rest))) ||
    (items !== undefined && [path, ...any].some((rest) => leadsTo(items, rest)))
  );
}

/** What follows a name, which may hold dots itself, at the start of a path such as `.layers.L0.id`; null without it. */
export function behind(path: string, name: string): string | null {
  if (!path.startsWith(`.${name}`)) return null;
  const rest = path.slice(1 + name.length);
  return rest === '' || rest.startsWith('.') ? rest : null;
}

/** What may follow a name at the start of a path where any name may stand. */
function behindAny(path: string): string[] {
  const parts = path.split('.').slice(1);
  return parts.map((_, i) =>
    parts
      .slice(i + 1)
      .map((part) => `.${part}`)
      .join(''),
  );
}
