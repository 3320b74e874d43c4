/** The experts that one router chose for a run of tokens. Everything is token-major. */
export interface TokenChoices {
  tokens: number;
  experts: number;
  /** Weights per token; equal to `experts` where every expert has one. */
  k: number;
  /** Selected experts, [tokens, k]; null where every expert has a weight. */
  indices: Int32Array | null;
  /** [tokens, k]; without indices 0 means that an expert takes no part. */
  weights: Float32Array;
}

/** What they were chosen by, too. */
export interface TokenRouting extends TokenChoices {
  /** [tokens, experts] */
  logits: Float32Array;
}
