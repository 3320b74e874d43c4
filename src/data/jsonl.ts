import { Fault } from '../fault.ts';
import { jsonArray } from './json-array.ts';
import { tokenInput, type DataRecord } from './record.ts';
import { rowsOf } from './rows.ts';
import type { Tokenizer } from './tokenizer.ts';

const newline = 0x0a;

/**
 * The records of a `.jsonl` file, one per line: `{"text"}`, `{"prompt", "answer"}` or `{"inputs": {name: array}}`,
 * each with an optional `"task"`; kinds may be mixed, other keys are ignored, empty lines are skipped. A line
 * whose `inputs` hold a batch of several rows gives a record per row.
 * @param file names the file in Faults.
 * @throws Fault DATA_JSON or DATA_RECORD with `file:line`.
 */
export function jsonlRecords(bytes: Uint8Array, file: string, tokenizer: Tokenizer): DataRecord[] {
  const records: DataRecord[] = [];
  for (const { content, line } of linesOf(bytes)) {
    if (!isBlank(content)) records.push(...parseLine(content, `${file}:${line}`, tokenizer));
  }
  return records;
}

/** Lines are decoded one by one: a whole file may be longer than a string can be. */
function* linesOf(bytes: Uint8Array): Generator<{ content: Uint8Array; line: number }> {
  for (let start = 0, line = 1; start < bytes.length; line++) {
    const next = bytes.indexOf(newline, start);
    const end = next < 0 ? bytes.length : next;
    yield { content: bytes.subarray(start, end), line };
    start = end + 1;
  }
}

function isBlank(content: Uint8Array): boolean {
  return content.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

function parseLine(content: Uint8Array, source: string, tokenizer: Tokenizer): DataRecord[] {
  const line = parseJson(content, source);
  const task = line['task'] ?? null;
  if (task !== null && typeof task !== 'string') throw malformed(source, '"task" is not a string');
  const kinds = ['text', 'prompt', 'inputs'].filter((key) => key in line);
  if (kinds.length !== 1) throw malformed(source, 'it is not exactly one of the three kinds of record');
  if (kinds[0] === 'inputs') return inputRecords(line['inputs'], source, task);
  return [
    kinds[0] === 'text'
      ? textRecord(stringIn(line, 'text', source), source, task, tokenizer)
      : answerRecord(
          stringIn(line, 'prompt', source),
          stringIn(line, 'answer', source),
          source,
          task,
          tokenizer,
        ),
  ];
}

function textRecord(text: string, source: string, task: string | null, tokenizer: Tokenizer): DataRecord {
  const { ids } = tokenizer.encode(text);
  if (ids.length === 0) throw malformed(source, 'the text has no token');
  return { source, task, inputs: tokens(ids), answerStart: null };
}

/**
 * Prompt and answer are tokenized as one text, as the model would meet them; special tokens appended at its end
 * are dropped, for the answer does not hold them. The answer starts where the tokens of the whole leave those of
 * the prompt alone: a token merged across the boundary holds characters of the answer and counts as answer.
 */
function answerRecord(
  prompt: string,
  answer: string,
  source: string,
  task: string | null,
  tokenizer: Tokenizer,
): DataRecord {
  const alone = tokenizer.encode(prompt);
  const whole = tokenizer.encode(prompt + answer);
  const ids = whole.ids.slice(0, whole.end);
  const promptIds = alone.ids.slice(alone.start, alone.end);
  let answerStart = whole.start;
  while (answerStart < ids.length && ids[answerStart] === promptIds[answerStart - whole.start]) answerStart++;
  if (answerStart === ids.length) throw malformed(source, 'the answer adds no token to the prompt');
  if (answerStart === 0) throw malformed(source, 'there is no token before the answer to predict it from');
  return { source, task, inputs: tokens(ids), answerStart };
}

function inputRecords(value: unknown, source: string, task: string | null): DataRecord[] {
  if (!isObject(value)) throw malformed(source, '"inputs" is not an object');
  const arrays = Object.fromEntries(
    Object.entries(value).map(([name, array]) => [name, jsonArray(array, `${source}, input ${name}`)]),
  );
  const rows = rowsOf(arrays, source);
  return rows.map((inputs, row) => ({
    source: rows.length === 1 ? source : `${source}[${row}]`,
    task,
    inputs,
    answerStart: null,
  }));
}

function tokens(ids: number[]): DataRecord['inputs'] {
  return { [tokenInput]: { dtype: 'int32', shape: [ids.length], data: Int32Array.from(ids) } };
}

function parseJson(content: Uint8Array, source: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(content));
  } catch (cause) {
    const what = 'the line is not valid JSON';
    const remedy = 'write one JSON object a line';
    throw Fault.because(cause, { code: 'DATA_JSON', what, where: source, remedy });
  }
  if (!isObject(value)) throw malformed(source, 'the line is not a JSON object');
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function stringIn(line: Record<string, unknown>, key: string, source: string): string {
  const value = line[key];
  if (typeof value !== 'string') throw malformed(source, `"${key}" is not a string`);
  return value;
}

function malformed(source: string, why: string): Fault {
  return new Fault({
    code: 'DATA_RECORD',
    what: 'the record cannot be used',
    where: source,
    why,
    remedy: 'write {"text"}, {"prompt", "answer", "task"} or {"inputs": {"input_ids": [[…]]}}',
  });
}
