/** The report of `verify --json`, also written as `report.json`: part of the public contract. */
export interface Report {
  reference: ModelFacts;
  quantized: ModelFacts;
  data: { records: number; tokens: number };
  output: OutputMetrics;
  /** Exact match per task, 0 to 1. */
  tasks: Record<string, { records: number; reference: number; quantized: number }>;
  layers: LayerReport[];
  census: CensusRow[];
  size: { referenceBytes: number; quantizedBytes: number; expertBitsPerWeight: number | null };
  execution: Execution;
  gates: Gate[];
}

export interface ModelFacts {
  path: string;
  bytes: number;
  parameters: number;
  sha256?: string;
}

export interface OutputMetrics {
  sqnrDb: number;
  /** Mean Kullback-Leibler divergence of the output distributions, reference to quantized, in nats. */
  kl: number;
  top1Agreement: number;
  perplexity: { reference: number; quantized: number } | null;
}

/** How alike two routers choose, over the same tokens. */
export interface RouterMetrics {
  mse: number;
  kl: number;
  topKAgreement: number;
  exactSet: number;
  top1Agreement: number;
  weightL1: number;
  marginFlipRate: number;
}

export interface LayerReport {
  id: string;
  router: { local: RouterMetrics; cumulative: RouterMetrics };
  experts: { id: string; tokens: number; calibrationTokens: number | null; sqnrDb: number | null }[];
}

export type Role = 'expert' | 'router' | 'shared' | 'attention' | 'norm' | 'embedding' | 'head' | 'other';

export interface CensusRow {
  role: Role;
  quantizedBytes: number;
  keptBytes: number;
  refused: { tensor: string; reason: string }[];
}

export interface Execution {
  target: string;
  weights: string;
  activations: string;
  executed: boolean;
  provider: string;
}

export interface Gate {
  name: string;
  limit: number;
  value: number;
  ok: boolean;
}
