import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { extname } from 'node:path';
import { jsonlRecords } from '../../data/jsonl.ts';
import { declaredInputs } from '../../data/model-input.ts';
import { recordFiles } from '../../data/records.ts';
import type { Tokenizer } from '../../data/tokenizer.ts';
import type { Model } from '../../onnx/model.ts';

/** How much there is to run over. */
export interface DataSize {
  records: number;
  tokens: number;
}

/** Tokens of a record, and bytes of one, where no line tells. */
const [tokensPerRecord, bytesPerToken] = [128, 4];

/**
 * Records and tokens of a file or folder of records, estimated from the first lines and the sizes of its files.
 * @throws Fault DATA_NOT_FOUND, DATA_FORMAT, and those of records that cannot be used among the first
 */
export function dataSize(path: string, model: Model, tokenizer: Tokenizer): DataSize {
  const sizes = recordFiles(path).map((file) =>
    extname(file) === '.npz' ? arraysSize(file, model) : linesSize(file, tokenizer),
  );
  const total = (of: keyof DataSize): number => sizes.reduce((sum, size) => sum + size[of], 0);
  return { records: total('records'), tokens: total('tokens') };
}

/** The first so many of the records; all where there is no limit. */
export function firstOf({ records, tokens }: DataSize, limit: number | null): DataSize {
  const share = limit === null ? 1 : Math.min(1, limit / Math.max(1, records));
  return { records: records * share, tokens: tokens * share };
}

function linesSize(file: string, tokenizer: Tokenizer): DataSize {
  const { size } = statSync(file);
  const head = firstLines(file);
  if (head.length === 0) return { records: 1, tokens: size / bytesPerToken };
  const records = jsonlRecords(head, file, tokenizer);
  const lengths = records.map(({ inputs }) =>
    Math.max(...Object.values(inputs).map(({ shape: [length = 1] }) => length)),
  );
  const rest = size / head.length;
  return { records: records.length * rest, tokens: lengths.reduce((sum, length) => sum + length, 0) * rest };
}

const headBytes = 2 ** 16;

/** Whole lines from the start of a file; none where the first is longer than what is read. */
function firstLines(file: string): Uint8Array {
  const handle = openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(headBytes);
    const head = bytes.subarray(0, readSync(handle, bytes, 0, headBytes, 0));
    return head.length < headBytes ? head : head.subarray(0, head.lastIndexOf('\n') + 1);
  } finally {
    closeSync(handle);
  }
}

const bytesPerNumber: Record<string, number> = { float16: 2, float32: 4, int32: 4 };

/** Arrays [batch, sequence, …], one for each input of the model: so many bytes of each token. */
function arraysSize(file: string, model: Model): DataSize {
  const widths = declaredInputs(model).map(({ dtype, shape }) => {
    const inner = shape.slice(2).filter((dim) => typeof dim === 'number');
    return inner.reduce((product, dim) => product * dim, bytesPerNumber[dtype] ?? 8);
  });
  const tokens = statSync(file).size / widths.reduce((sum, width) => sum + width, 0);
  return { records: Math.ceil(tokens / tokensPerRecord), tokens };
}
