/** Text of figures for people, the same everywhere and independent of the machine's locale. */

const unmeasured = '–';

/** Stands for "identical" in files: JSON has no infinity, and float32 outputs that differ at all stay below it. */
export const identicalDb = 200;

/** Four significant digits, without an exponent where one can be avoided. */
export function formatFigure(value: number | null): string {
  if (value === null || Number.isNaN(value)) return unmeasured;
  if (!Number.isFinite(value)) return value > 0 ? 'infinite' : '-infinite';
  if (value !== 0 && Math.abs(value) < 0.0001) return value.toExponential(1);
  if (Number.isInteger(value)) return formatCount(value);
  return String(Number(value.toPrecision(4)));
}

/** A share of 1 to four decimals, e.g. `0.9312`. */
export function formatShare(value: number): string {
  return Number.isNaN(value) ? unmeasured : value.toFixed(4);
}

/** Decibels to one decimal without the unit, for tables; "identical" from the ceiling of reports on. */
export function formatDb(value: number | null): string {
  if (value === null || Number.isNaN(value)) return unmeasured;
  return value >= identicalDb ? 'identical' : value.toFixed(1);
}

/** Decibels with the unit, for sentences. */
export function formatDecibels(value: number | null): string {
  const text = formatDb(value);
  return /\d$/.test(text) ? `${text} dB` : text;
}

/** A whole number with separated thousands, e.g. `24,118`. */
export function formatCount(value: number): string {
  return String(value).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** How many of a thing, e.g. `1 gate`, `24 gates`. */
export function formatAmount(count: number, thing: string): string {
  return `${formatCount(count)} ${thing}${count === 1 ? '' : 's'}`;
}

/** Bytes in the unit that leaves one to three digits before the point, e.g. `1.1 MB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(bytes, 1)) / 3)));
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${units[power]}`;
}

/** A change with its sign, e.g. `+0.012`. */
export function formatChange(value: number): string {
  return value > 0 ? `+${formatFigure(value)}` : formatFigure(value);
}
