/** One router's decisions for a run of tokens. Everything is token-major. */
export interface TokenRouting {
  tokens: number;
  experts: number;
  /** Weights per token; equal to `experts` where every expert has one. */
  k: number;
  /** [tokens, experts] */
  logits: Float32Array;
  /** Selected experts, [tokens, k]; null where every expert has a weight. */
  indices: Int32Array | null;
  /** [tokens, k]; without indices 0 means that an expert takes no part. */
  weights: Float32Array;
}
