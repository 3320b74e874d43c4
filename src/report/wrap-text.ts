import { shortenMiddle, withoutControls } from './terminal-table.ts';

/** Lines of at most `width` characters, broken between words; a longer word loses its middle. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of withoutControls(text).split(' ')) {
    const short = shortenMiddle(word, width);
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + short.length <= width)
      lines[lines.length - 1] = `${last} ${short}`;
    else lines.push(short);
  }
  return lines;
}

/** A paragraph under a label: later lines stand below the text of the first. */
export function hangingText(label: string, text: string, width: number): string[] {
  const indent = ' '.repeat(label.length);
  return wrapText(text, width - label.length).map((line, i) => (i === 0 ? label : indent) + line);
}
