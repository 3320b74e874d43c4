import type { Role } from '../moe/roles.ts';

/** What `inspect --json` prints: part of the public contract. */
export interface Inspection {
  model: {
    path: string;
    irVersion: number;
    opset: number;
    producer: string;
    parameters: number;
    bytes: number;
    /** What it wants to be fed; a dimension is a number, a symbol, or null when nothing is known. */
    inputs: { name: string; dtype: string; shape: (number | string | null)[] }[];
  };
  layers: LayerInspection[];
  /** Near misses; filled on request. */
  rejected: { node: string; reason: string }[];
  /** Bytes of the constants by role. */
  sizes: { role: Role; bytes: number }[];
  /** Of the file as a whole: that no layer was found, or that moeq wrote it. */
  notes: string[];
}

export interface LayerInspection {
  id: string;
  /** loop, dense, gathered, sorted, capacity, soft, fused or conv. */
  form: string;
  router: {
    weight: string | null;
    experts: number;
    topK: number | null;
    scoring: string;
    renormalized: boolean;
    bias: boolean;
  };
  routers: number;
  experts: {
    count: number;
    hidden: number;
    intermediate: number;
    gated: boolean;
    /** By the name that torch has for it; `elementwise` for a function that has none. */
    activation: string;
    /** Of x·sigmoid(alpha·x), where it is not 1: quick GELU has 1.702. */
    alpha?: number;
    parameters: number;
  };
  shared: { intermediate: number; gated: boolean; sigmoidGate: boolean } | null;
  norm: { op: string; foldable: boolean; reason: string } | null;
  complete: boolean;
  quantizable: boolean;
  reason: string;
  warnings: string[];
}
