import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';

/** What the linears of a form multiply with weights: `operand · scales` stands for the input. */
export interface Operand {
  /** [n, in]. */
  operand: Value;
  /** [n, 1], or null for 1. */
  scales: Value | null;
  /** The code of zero, for integer operands. */
  zeroCode?: number;
  zeroPoint?: Value;
  /** What channels lack in `operand`, [n, 1, channels]; multiplied by itself and added to the products. */
  apart?: Value;
}

/** One expert's rows times its weight: from [n, in] to [n, out], without bias. Writes into the builder's graph. */
export type Product = (b: Builder, input: Operand) => Value;

/** Another way to the same product, which a graph takes when it is the better one. */
export interface OtherWay {
  /** Whether to take it, a bool; null for never. `areFew`: see `Dispatch`, null where rows are not counted. */
  when(b: Builder, areFew: Value | null): Value | null;
  /** From what the form prepared, for all weights that read it. */
  prepare(b: Builder, input: Operand): Operand;
  product: Product;
  /** Weights of the channels that `prepare` sets apart, [channels, out]. */
  apart?: Int8Array;
}

/** Rows that linears read: gate and up the layer's input, down the hidden activations. */
export interface LinearInput {
  part: 'input' | 'hidden';
  /** Channels. */
  width: number;
}

/** How one target writes quantized linears. */
export interface LinearForm {
  prepare(b: Builder, x: Value, input: LinearInput): Operand;
  /** Writes one expert's weight (`name` is gate, up, both in one as gate_up, or down) and returns what multiplies with it. */
  linear(b: Builder, name: string, weight: QuantizedTensor): { product: Product; otherWay?: OtherWay | null };
  /** True when products are int32 sums of codes, whose scales (per token, per channel) follow for all experts at once. */
  integer: boolean;
}
