import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Document } from 'yaml';
import { Fault } from '../fault.ts';

/** A config before validation, with the place every key was written. */
export interface ConfigDocument {
  value: unknown;
  /** `file:line:column` of the key at a path, or of its nearest ancestor that is written; or the flag that set it. */
  whereOf(path: readonly PropertyKey[]): string;
}

/** The document of a command line without a file. */
export const emptyDocument: ConfigDocument = { value: {}, whereOf: () => 'command line' };

/**
 * Parses YAML, and JSON with it.
 * @param file names the file in positions.
 * @throws Fault CONFIG_SYNTAX with line and column, also for duplicate keys and unknown tags.
 */
export function parseConfigDocument(text: string, file: string): ConfigDocument {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const [error] = [...document.errors, ...document.warnings];
  if (error) {
    throw new Fault({
      code: 'CONFIG_SYNTAX',
      what: 'the file is no valid YAML or JSON',
      where: place(error.pos[0]),
      why: error.message,
      remedy: 'correct the text there',
    });
  }
  return { value: document.toJS() ?? {}, whereOf: (path) => place(offsetOf(document, path)) };
}

/** Where the key or list item at a path begins in the text. */
function offsetOf(document: Document.Parsed, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents;
  let offset = document.contents?.range[0] ?? 0;
  for (const key of path) {
    const child = childOf(isAlias(node) ? node.resolve(document) : node, key);
    if (!child) return offset;
    ({ node, offset = offset } = child);
  }
  return offset;
}

function childOf(node: unknown, key: PropertyKey): { node: unknown; offset: number | undefined } | undefined {
  if (isSeq<{ range?: [number, number, number] }>(node)) {
    const item = node.items[Number(key)];
    return item && { node: item, offset: item.range?.[0] };
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
  return pair && { node: pair.value, offset: isScalar(pair.key) ? pair.key.range?.[0] : undefined };
}
