/** What a {@link Fault} says, as plain data. It crosses worker threads and processes unchanged. */
export interface FaultRecord {
  /** Stable identifier such as `ONNX_TRUNCATED`; scripts may rely on it. */
  code: string;
  /** What happened, in one sentence without a full stop. */
  what: string;
  /** File, node, tensor, layer or expert it happened at. */
  where?: string;
  /** The reason, when `what` alone does not give it. */
  why?: string;
  /** What the user can do about it. */
  remedy?: string;
}

const brand = Symbol.for('moeq.fault');

/**
 * The one error class of the project: every expected failure is a Fault, and the command line turns it
 * into one message and exit code 2. An `Error` loses its fields in `postMessage`, so threads exchange
 * {@link FaultRecord}s (`toRecord`, `fromRecord`).
 */
export class Fault extends Error {
  readonly code: string;
  readonly what: string;
  readonly where: string | undefined;
  readonly why: string | undefined;
  readonly remedy: string | undefined;

  constructor(record: FaultRecord, options?: ErrorOptions) {
    super(describe(record), options);
    this.name = 'Fault';
    this.code = record.code;
    this.what = record.what;
    this.where = record.where;
    this.why = record.why;
    this.remedy = record.remedy;
    Object.defineProperty(this, brand, { value: true });
  }

  toRecord(): FaultRecord {
    const { code, what, where, why, remedy } = this;
    return { code, what, ...(where && { where }), ...(why && { why }), ...(remedy && { remedy }) };
  }

  static fromRecord(record: FaultRecord): Fault {
    return new Fault(record);
  }

  /** The Fault that some error comes to, which is its reason. */
  static because(cause: unknown, record: Omit<FaultRecord, 'why'>): Fault {
    return new Fault({ ...record, why: reasonOf(cause) }, { cause });
  }
}

/** True for a Fault of any copy of this module (checked by brand, not by `instanceof`). */
export function isFault(error: unknown): error is Fault {
  return typeof error === 'object' && error !== null && brand in error;
}

/** What an error says, for the `why` of a Fault; anything may have been thrown. */
export function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function describe({ code, what, where, why, remedy }: FaultRecord): string {
  const lines = [`${code}: ${what}`];
  if (where) lines.push(`  where: ${where}`);
  if (why) lines.push(`  why:   ${why}`);
  if (remedy) lines.push(`  do:    ${remedy}`);
  return lines.join('\n');
}
