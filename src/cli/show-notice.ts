let last = '';

/** A line on standard error; what was said just before is not repeated. */
export function showNotice(text: string): void {
  if (text !== last) process.stderr.write(`${text}\n`);
  last = text;
}
