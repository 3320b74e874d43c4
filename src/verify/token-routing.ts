/** One router's decisions for a run of tokens. Everything is token-major. */
export interface TokenRouting {
  tokens: number;
  experts: number;
  /** Selected experts per token; equal to `experts` where all take part. */
  k: number;
  /** [tokens, experts] */
  logits: Float32Array;
  /** Selected experts, [tokens, k]; null where every expert takes part. */
  indices: Int32Array | null;
  /** [tokens, k], or [tokens, experts] without indices. */
  weights: Float32Array;
}
