/*
 * A small assembler for WebAssembly, enough for loops over vectors of 128 bits: JavaScript has no other way to them.
 * Code is written as expressions, `add(get(x), get(y))`, which put their operands on the stack first.
 */

/** Bytes of code, nested as they were put together. */
export type Code = number | readonly Code[];

/** A function of numbers (i32), which has its results in memory. */
export interface WasmFunction {
  /** Names of its parameters. */
  params: readonly string[];
  /** Vectors it works with, by name. */
  vectors: readonly string[];
  body: (v: Variables) => Code;
}

/** Reads and sets what a function has names for. */
export interface Variables {
  get(name: string): Code;
  set(name: string, value: Code): Code;
  /** Adds a number to a parameter. */
  advance(name: string, by: Code): Code;
}

/** Functions that share one memory. */
export interface WasmModule<Name extends string> {
  memory: ArrayBuffer;
  call: Record<Name, (...params: number[]) => void>;
}

/** What Node's types leave out. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { exports: { memory: { buffer: ArrayBuffer } } };
};

const types = { i32: 0x7f, v128: 0x7b };

/** Assembles functions, and gives them so many pages of 64 KiB. */
export function wasmModule<Name extends string>(
  pages: number,
  functions: Record<Name, WasmFunction>,
): WasmModule<Name> {
  const list = Object.entries<WasmFunction>(functions);
  const exported = [['memory', 2, 0] as const, ...list.map(([name], i) => [name, 0, i] as const)];
  const bytes = flat([
    [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    section(
      1,
      list.map(([, { params }]) => [0x60, vector(params.map(() => types.i32)), 0]),
    ),
    section(
      3,
      list.map((_, i) => unsigned(i)),
    ),
    section(5, [[0, unsigned(pages)]]),
    section(
      7,
      exported.map(([name, kind, i]) => [vector([...Buffer.from(name)]), kind, unsigned(i)]),
    ),
    section(
      10,
      list.map(([, each]) => sized(functionBody(each))),
    ),
  ]);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(bytes)));
  return { memory: exports.memory.buffer, call: exports as unknown as WasmModule<Name>['call'] };
}

function functionBody({ params, vectors, body }: WasmFunction): Code {
  const names = [...params, ...vectors];
  const get = (name: string): Code => [0x20, unsigned(names.indexOf(name))];
  const set = (name: string, value: Code): Code => [value, 0x21, unsigned(names.indexOf(name))];
  const code = body({ get, set, advance: (name, by) => set(name, add(get(name), by)) });
  return [vector(vectors.map(() => [1, types.v128])), code, 0x0b];
}

/** Does something once, and again as long as one number is below another. */
export function repeat(body: Code, number: Code, limit: Code): Code {
  return [0x03, 0x40, body, number, limit, 0x49, 0x0d, 0, 0x0b];
}

export function integer(value: number): Code {
  return [0x41, signed(value)];
}

export function double(value: number): Code {
  return [0x44, ...new Uint8Array(Float64Array.of(value).buffer)];
}

export function add(a: Code, b: Code): Code {
  return [a, b, 0x6a];
}

/** An instruction on vectors, by its number. */
export function simd(code: number, ...operands: Code[]): Code {
  return [operands, 0xfd, unsigned(code)];
}

/** A vector instruction that reads or writes memory at an address and so many bytes further on. */
export function simdAt(code: number, offset: number, ...operands: Code[]): Code {
  return [simd(code, ...operands), 0, unsigned(offset)];
}

function section(id: number, items: readonly Code[]): Code {
  return [id, sized(vector(items))];
}

function vector(items: readonly Code[]): Code {
  return [unsigned(items.length), items];
}

function sized(code: Code): Code {
  return [unsigned(flat(code).length), code];
}

function flat(code: Code): number[] {
  return typeof code === 'number' ? [code] : code.flatMap(flat);
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  const [low, rest] = [value & 127, value >> 7];
  const isLast = (rest === 0 && low < 64) || (rest === -1 && low >= 64);
  return isLast ? [low] : [low | 128, ...signed(rest)];
}
