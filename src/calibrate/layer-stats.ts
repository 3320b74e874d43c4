import { Fault } from '../fault.ts';

/** Statistics of one linear input over the tokens that reached it. */
export interface ChannelStats {
  /** Largest magnitude per channel, [channels]. */
  absMax: Float32Array;
  /** Sum over tokens of x·xᵀ, [channels, channels] row-major; null when it was not asked for. */
  gram: Float32Array | null;
}

export interface ExpertStats {
  id: string;
  /** Tokens routed to the expert; 0 for an expert that no record reached, whose other statistics mean nothing. */
  tokens: number;
  /** What they weigh together in XᵀX and the mean: their number, unless each weighs as much as its routing. */
  mass: number;
  /** Mean of what gate and up read, [hidden]. */
  inputMean: Float32Array;
  /** What gate and up read. */
  input: ChannelStats;
  /** What down reads. */
  hidden: ChannelStats;
}

/** What calibration knows of one MoE layer. */
export interface LayerStats {
  id: string;
  /** All tokens, each counted once. */
  tokens: number;
  /** What the router and the shared expert read: every token. */
  inputAbsMax: Float32Array;
  /** Mean router probability (softmax of the logits) per router column, [experts]. */
  probability: Float32Array;
  experts: ExpertStats[];
}

/** The same without XᵀX, which is most of it and of no use once a layer is quantized. */
export function withoutGram(stats: LayerStats): LayerStats {
  const experts = stats.experts.map((expert) => ({
    ...expert,
    // Read from a store, XᵀX would be loaded for being looked at.
    input: { absMax: expert.input.absMax, gram: null },
    hidden: { absMax: expert.hidden.absMax, gram: null },
  }));
  return { ...stats, experts };
}

/** What calibration saw in a layer or an expert, `where`, are no numbers to quantize by. */
export function activationsNotFinite(where: string): Fault {
  return new Fault({
    code: 'ACTIVATIONS_NOT_FINITE',
    what: 'activations are infinite or no numbers',
    where,
    remedy: 'look at the model and the records: "moeq verify" tells where they come from',
  });
}
