import { Fault } from '../fault.ts';
import { companionOf, isPerPosition } from './companions.ts';
import type { ModelInput } from './model-input.ts';
import { isNumericType, type NumericType } from './numeric-array.ts';
import { tokenInput, type DataRecord } from './record.ts';

/** How a model wants its batches. */
export interface Layout {
  inputs: (ModelInput & { dtype: NumericType })[];
  /** The input whose axis 1 is the sequence; null for a model without one (a record is then one position). */
  sequenceInput: string | null;
  /** Inputs whose axis 1 is that sequence too. */
  followers: ReadonlySet<string>;
  /** The batch size and sequence length the model is fixed to, or null where it takes any. */
  batch: number | null;
  sequence: number | null;
}

/**
 * Reads the layout off the declared inputs. The sequence is axis 1 of `input_ids`, else of `inputs_embeds`, else of
 * the first [batch, sequence, width] input; inputs that declare the same symbol or number there follow it.
 * @throws Fault DATA_INPUT_TYPE for an input that is not numeric.
 */
export function layoutOf(inputs: readonly ModelInput[]): Layout {
  const numeric = inputs.map((input) => ({ ...input, dtype: numericType(input) }));
  const named = (name: string) => inputs.find((input) => input.name === name);
  const lead = named(tokenInput) ?? named('inputs_embeds') ?? inputs.find(({ shape }) => shape.length === 3);
  const axis = lead?.shape[1] ?? null;
  const follows = (input: ModelInput) =>
    input === lead || isPerPosition(input) || (axis !== null && input.shape[1] === axis);
  const batches = inputs.map(({ shape }) => shape[0]).filter((dim) => typeof dim === 'number');
  return {
    inputs: numeric,
    sequenceInput: lead?.name ?? null,
    followers: new Set(lead ? inputs.filter(follows).map(({ name }) => name) : []),
    batch: batches[0] ?? null,
    sequence: typeof axis === 'number' ? axis : null,
  };
}

/** Positions of a record. */
export function lengthOf(record: DataRecord, { sequenceInput }: Layout): number {
  return sequenceInput === null ? 1 : (record.inputs[sequenceInput]?.shape[0] ?? 1);
}

/** The shape of a record's input once it is padded to the model's fixed sequence length. */
export function paddedShape(record: DataRecord, name: string, { followers, sequence }: Layout): number[] {
  const { shape } = record.inputs[name];
  return sequence !== null && followers.has(name) ? [sequence, ...shape.slice(1)] : shape;
}

/** Whether a model can be fed with records. @throws Fault those of {@link layoutOf} and {@link checkRecord} */
export function checkRecords(records: readonly DataRecord[], inputs: readonly ModelInput[]): void {
  const layout = layoutOf(inputs);
  for (const record of records) checkRecord(record, layout);
}

/**
 * Checks that a record gives what the model needs and nothing else.
 * @throws Fault DATA_INPUT_UNKNOWN, DATA_INPUT_MISSING, DATA_INPUT_SHAPE or DATA_TOO_LONG, naming record and input.
 */
export function checkRecord(record: DataRecord, layout: Layout): void {
  const declared = new Map(layout.inputs.map((input) => [input.name, input]));
  for (const name of Object.keys(record.inputs)) {
    if (!declared.has(name)) throw fault('DATA_INPUT_UNKNOWN', record, `the model has no input ${name}`);
  }
  for (const input of layout.inputs) {
    if (record.inputs[input.name]) checkShape(record, input, layout);
    else if (input.name === layout.sequenceInput || !companionOf(input, input.dtype)) {
      throw fault('DATA_INPUT_MISSING', record, `the record lacks the model's input ${input.name}`);
    }
  }
}

function checkShape(record: DataRecord, input: ModelInput, layout: Layout): void {
  const { shape } = record.inputs[input.name];
  const length = lengthOf(record, layout);
  const padded = paddedShape(record, input.name, layout);
  const wanted = input.shape.slice(1);
  const fits =
    padded.length === wanted.length && wanted.every((dim, i) => typeof dim !== 'number' || dim === padded[i]);
  const follows = !layout.followers.has(input.name) || shape[0] === length;
  if (!fits || !follows || input.shape.length === 0) {
    const what = `input ${input.name} has shape [${shape.join(', ')}] where the model takes [${wanted.join(', ')}]`;
    throw fault('DATA_INPUT_SHAPE', record, what);
  }
  if (layout.sequence !== null && length > layout.sequence) {
    const what = `the record has ${length} positions where the model takes ${layout.sequence}`;
    const remedy = `cut its records to ${layout.sequence} positions, or export the model for sequences of any length`;
    throw fault('DATA_TOO_LONG', record, what, remedy);
  }
}

function numericType({ name, dtype }: ModelInput): NumericType {
  if (isNumericType(dtype)) return dtype;
  throw new Fault({
    code: 'DATA_INPUT_TYPE',
    what: `the model's input ${name} has type ${dtype}, which data cannot give`,
    where: `input ${name}`,
    remedy: 'use a model whose inputs are numbers',
  });
}

function fault(
  code: string,
  { source, inputs }: DataRecord,
  what: string,
  remedy = 'give the inputs that `moeq inspect` lists',
): Fault {
  const why = `the record gives ${Object.keys(inputs).join(', ')}`;
  return new Fault({ code, what, where: source, why, remedy });
}
