import type { Node } from '../onnx/node.ts';
import type { Value } from '../onnx/value.ts';
import type { MatrixView } from '../tensor/view.ts';

/** How a graph sends tokens to experts. */
export type DispatchForm = 'loop' | 'dense' | 'gathered' | 'sorted' | 'capacity' | 'soft' | 'fused' | 'conv';

export type Scoring =
  | 'softmax'
  | 'topk-softmax'
  | 'sigmoid'
  | 'sparsemixer'
  | 'dense-softmax'
  | 'soft-moe'
  | 'unknown';

/** One Mixture-of-Experts layer, whatever graph form it was found in. */
export interface MoeLayer {
  /** `L0`, `L1`, … in graph order. */
  id: string;
  form: DispatchForm;
  router: Router;
  /** Number of routers that share the experts; more than one in multi-gate layers. */
  routers: number;
  experts: Expert[];
  hidden: number;
  intermediate: number;
  /** Whether experts have a gate; told apart from `experts[].gate`, which is null where weights are packed. */
  gated: boolean;
  activation: Activation;
  shared: SharedExpert | null;
  norm: Norm | null;
  /** The values between which the layer can be written anew; null where that is not possible (see `reason`). */
  boundary: Boundary | null;
  /** False when the file holds fewer experts than the router has columns. */
  complete: boolean;
  quantizable: boolean;
  reason: string;
  warnings: string[];
}

export interface Router {
  /**
   * The linear that makes the logits: weight [experts, hidden]. Null for routers without one of just these columns (hash
   * tables, and routers that weigh shared experts too).
   */
  linear: Linear | null;
  /** Width of the router: the number of experts it knows. */
  experts: number;
  /** Experts per token; null where every expert runs for every token. */
  topK: number | null;
  scoring: Scoring;
  /** True when the chosen weights are divided by their sum. */
  renormalized: boolean;
  /** True when a bias takes part in the selection (logit bias, or a correction bias as in DeepSeek-V3). */
  bias: boolean;
  /** Raw logits [..., experts], before softmax, sigmoid and correction bias. */
  logits: Value;
}

/** Where a layer begins and ends in its graph. */
export interface Boundary {
  /** What router and experts read: [..., hidden], any leading dimensions. */
  input: Value;
  /**
   * The sum over the routed experts that have matrices (kind `ffn`), of the same element count as `input`: [..., hidden].
   * Shared experts and experts of other kinds are not included: what the graph adds for them stays as it is.
   */
  output: Value;
  /** True where `output` has the shape [T, hidden] although `input` may have more axes; set by `prepareModel`. */
  isFlat?: boolean;
  routing: Routing;
}

/**
 * What decides which experts a token visits and how they count.
 * - `topk`: `indices` and `weights`, both of T·k elements, k last (token-major).
 * - `dense`: one weight per token and expert, T·E elements; `expertAxis` says whether E is the last axis or the first.
 *   Zero means that the expert does not take part.
 * - `combine`: weights [..., E, C] of a capacity form; their sum over C is the dense weight.
 * - `logits`: the fused operator chooses by itself: weights are the k largest of softmax(logits), divided by their sum
 *   if `renormalized`. No value of the graph holds them.
 */
export type Routing = (
  | { kind: 'topk'; indices: Value; weights: Value; k: number }
  | { kind: 'dense'; weights: Value; expertAxis: 'first' | 'last' }
  | { kind: 'combine'; weights: Value }
  | { kind: 'logits'; logits: Value; k: number; renormalized: boolean }
) & {
  /** Whether the weight multiplies the expert's output or, as in Llama-4, its input. */
  appliesTo: 'output' | 'input';
  /** A number that the graph multiplies every expert's output by besides; `prepareModel` brings it into the weights. */
  factor?: number;
};

/** A weight [out, in] with an optional bias [out]. */
export interface Linear {
  /** Name of the constant that holds the weight (the whole stack, if it is one). */
  name: string;
  weight: MatrixView;
  bias: { name: string; view: MatrixView } | null;
  /** The node that multiplies, and which of its inputs the weight comes in by. */
  node: Node;
  weightInput: number;
}

export interface Expert {
  /** `L0.E3`. */
  id: string;
  /** The router column that selects it. */
  index: number;
  kind: 'ffn' | 'zero' | 'copy' | 'constant';
  /** Null for ungated experts. */
  gate: Linear | null;
  up: Linear | null;
  down: Linear | null;
}

/**
 * What happens between the first linears and `down`: `f(gate) · (up + upOffset)` for gated experts, `f(up)` otherwise.
 * With a `limit`, gate is cut to at most it and up to ± it, before anything else (gpt-oss); without a gate, up is cut to
 * at most it (ReLU6). `capped-silu` cuts not what it is given but what it gives (Step 3.7).
 */
export interface Activation {
  /**
   * `silu` is x·sigmoid(alpha·x); `relu2` is relu squared; `gelu` is exact, `gelu-tanh` its approximation; `elementwise` is
   * what its formula says.
   */
  name:
    | 'silu'
    | 'capped-silu'
    | 'gelu'
    | 'gelu-tanh'
    | 'relu'
    | 'relu2'
    | 'identity'
    | 'elementwise'
    | 'unknown';
  /** Only for silu, capped or not; 1 otherwise. */
  alpha: number;
  limit: number | null;
  upOffset: number;
  /** Only for `elementwise`. */
  formula?: Formula;
}

/** A function of one number x: x itself, a constant, or an operator of ONNX that works on each element alone. */
export type Formula = 'x' | number | FormulaStep;

export interface FormulaStep {
  opType: string;
  inputs: readonly (Formula | null)[];
  attributes: Readonly<Record<string, string | { f: number }>>;
}

/** An expert every token visits, beside the routed ones. */
export interface SharedExpert {
  intermediate: number;
  gate: Linear | null;
  up: Linear;
  down: Linear;
  /** The [1, hidden] linear whose sigmoid weighs it, if any. */
  sigmoidGate: Linear | null;
}

/** The normalization whose output feeds the experts, and the router unless that has one of its own. */
export interface Norm {
  op: string;
  /** The residual stream it normalizes. */
  input: Value;
  output: Value;
  /** Its per-channel scale [hidden], and bias [hidden] if it has one. */
  scale: { name: string; view: MatrixView; node: Node; input: number } | null;
  bias: { name: string; view: MatrixView; node: Node; input: number } | null;
  /** Linears of this layer that read its output. */
  readers: ReadonlySet<Node>;
  /** Whether a per-channel factor may be folded into it: nothing else reads its output. */
  foldable: boolean;
  reason: string;
}

/** A place that looked like a MoE layer and was not accepted. */
export interface Rejection {
  node: string;
  reason: string;
}
