import * as z from 'zod';

/** As much of a JSON Schema as tells what a key takes. */
interface Shape {
  $ref?: string;
  $defs?: Record<string, Shape>;
  anyOf?: Shape[];
  enum?: unknown[];
  const?: unknown;
  type?: string;
  format?: string;
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  properties?: Record<string, Shape>;
  additionalProperties?: Shape | boolean;
  items?: Shape;
}

/** What a key of a schema takes, in words: `auto, channel, or a whole number of at least 1`; null for no such key. */
export function allowedValues(schema: z.ZodType, path: readonly PropertyKey[]): string | null {
  const root = z.toJSONSchema(schema, { io: 'input' }) as Shape;
  const alternatives = (shape: Shape): Shape[] => {
    const target = shape.$ref === undefined ? shape : root.$defs?.[shape.$ref.split('/').at(-1)!];
    return target?.anyOf ? target.anyOf.flatMap(alternatives) : target ? [target] : [];
  };
  const found = path.reduce<Shape[]>(
    (shapes, key) => shapes.flatMap((shape) => partOf(shape, key)).flatMap(alternatives),
    alternatives(root),
  );
  const words = [...new Set(found.flatMap(wordsOf))];
  if (words.length < 3) return words.join(' or ') || null;
  return `${words.slice(0, -1).join(', ')}, or ${words.at(-1)}`;
}

function partOf({ properties, additionalProperties, items }: Shape, key: PropertyKey): Shape[] {
  const part = typeof key === 'number' ? items : (properties?.[String(key)] ?? additionalProperties);
  return typeof part === 'object' ? [part] : [];
}

const kinds: Record<string, string> = {
  null: 'null',
  boolean: 'true, false',
  object: 'keys with values',
  array: 'a list',
};

function wordsOf({ enum: values, const: value, type = '', ...shape }: Shape): string[] {
  if (values) return values.map(String);
  if (value !== undefined) return [typeof value === 'string' ? value : JSON.stringify(value)];
  if (type === 'integer' || type === 'number') return [numbersOf(type, shape)];
  if (type === 'string') return [shape.format === undefined ? 'a text' : `a ${shape.format}`];
  return kinds[type]?.split(', ') ?? [];
}

/** Whole numbers have bounds that nobody set. */
function isBound(limit: number | undefined): boolean {
  return limit !== undefined && Math.abs(limit) !== Number.MAX_SAFE_INTEGER;
}

function numbersOf(type: string, { minimum, exclusiveMinimum, maximum }: Shape): string {
  const bounds = [
    ...(isBound(minimum) ? [`at least ${minimum}`] : []),
    ...(isBound(exclusiveMinimum) ? [`more than ${exclusiveMinimum}`] : []),
    ...(isBound(maximum) ? [`at most ${maximum}`] : []),
  ];
  const noun = type === 'integer' ? 'a whole number' : 'a number';
  return bounds.length === 0 ? noun : `${noun} of ${bounds.join(' and ')}`;
}
