import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import { Fault } from '../fault.ts';
import type { Encoding, Tokenizer } from './tokenizer.ts';

/** What is used of the package, whose own declarations Node's module resolution cannot follow. */
interface Library {
  encode(text: string, options?: { add_special_tokens: boolean }): { ids: number[]; tokens: string[] };
}

/**
 * Opens a Hugging Face `tokenizer.json`, with the `tokenizer_config.json` beside it if there is one.
 * @throws Fault DATA_TOKENIZER when a file is missing, is no JSON or describes no tokenizer; `encode` throws it
 *   for text the vocabulary cannot express.
 */
export function openHuggingFaceTokenizer(path: string): Tokenizer {
  const configPath = join(dirname(path), 'tokenizer_config.json');
  const description = readJson(path);
  const config = existsSync(configPath) ? readJson(configPath) : {};
  const library = construct(path, description, config);
  return { name: path, encode: (text) => encode(library, path, text) };
}

function encode(library: Library, path: string, text: string): Encoding {
  const { ids, tokens } = library.encode(text);
  const unknown = ids.findIndex((id) => !Number.isInteger(id));
  if (unknown >= 0) throw fault(path, `the vocabulary has no token for ${JSON.stringify(tokens[unknown])}`);
  const bare = library.encode(text, { add_special_tokens: false }).ids;
  const start = offsetOf(bare, ids);
  return { ids, start, end: start + bare.length };
}

/** Where `part` stands in `whole`; special tokens are added before and after a text, never inside it. */
function offsetOf(part: number[], whole: number[]): number {
  let offset = 0;
  while (offset + part.length < whole.length && part.some((id, i) => whole[offset + i] !== id)) offset++;
  return offset;
}

function construct(path: string, description: object, config: object): Library {
  try {
    const library: Library = new HuggingFace(description, config);
    return library;
  } catch (error) {
    throw fault(path, 'the tokenizer cannot be used', error);
  }
}

function readJson(path: string): object {
  const what = 'the tokenizer file cannot be read';
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw fault(path, what, error);
  }
  if (typeof value !== 'object' || value === null) throw fault(path, what);
  return value;
}

function fault(path: string, what: string, cause?: unknown): Fault {
  const record = {
    code: 'DATA_TOKENIZER',
    what,
    where: path,
    remedy: 'set tokenizer to "bytes" or to the path of a Hugging Face tokenizer.json',
  };
  return cause instanceof Error ? new Fault({ ...record, why: cause.message }, { cause }) : new Fault(record);
}
