import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { openHuggingFaceTokenizer } from './hugging-face-tokenizer.ts';

/** Turns text into token ids. */
export interface Tokenizer {
  /** `bytes`, or the path of the tokenizer file. */
  name: string;
  encode(text: string): Encoding;
}

export interface Encoding {
  /** Everything the model is fed, special tokens included. */
  ids: number[];
  /** `ids.slice(start, end)` is the text itself, without the special tokens added around it. */
  start: number;
  end: number;
}

/** One token per UTF-8 byte; the token is the byte's value. */
export const byteTokenizer: Tokenizer = {
  name: 'bytes',
  encode(text) {
    const ids = [...new TextEncoder().encode(text)];
    return { ids, start: 0, end: ids.length };
  },
};

/**
 * The tokenizer a model is used with: `bytes`, the path of a Hugging Face `tokenizer.json`, or by default (null)
 * the `tokenizer.json` beside the model if there is one and `bytes` otherwise.
 * @throws Fault DATA_TOKENIZER when the file is missing or not a tokenizer.
 */
export function openTokenizer(setting: string | null, modelPath: string): Tokenizer {
  const file = tokenizerFile(setting, modelPath);
  return file === null ? byteTokenizer : openHuggingFaceTokenizer(file);
}

/** The file of the tokenizer a model is used with; null for bytes. */
export function tokenizerFile(setting: string | null, modelPath: string): string | null {
  if (setting !== null) return setting === 'bytes' ? null : setting;
  const beside = join(dirname(modelPath), 'tokenizer.json');
  return existsSync(beside) ? beside : null;
}
