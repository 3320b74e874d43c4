import type { RouterMetrics } from '../report/report.ts';
import type { TokenChoices, TokenRouting } from './router-values.ts';

/** The sums behind {@link RouterMetrics}, so that batches and records can be added up. */
export type RouterSums = { tokens: number } & Required<RouterMetrics>;

export function emptySums(): RouterSums {
  return {
    tokens: 0,
    mse: 0,
    kl: 0,
    topKKl: 0,
    topKAgreement: 0,
    exactSet: 0,
    top1Agreement: 0,
    weightL1: 0,
    marginFlipRate: 0,
  };
}

/** Experts a token is sent to, with their weights. */
export type Choice = ReadonlyMap<number, number>;

/** What a router decided for one token. */
export interface Decision {
  logits: Float32Array;
  chosen: Choice;
  /** Whether it decided by numbers: an expert may be masked by minus infinity, but NaN chooses nobody. */
  isSound: boolean;
}

/** A decision that others are compared with. */
export interface ReferenceDecision extends Decision {
  /** Distance between the last selected and the first rejected logit; infinite where none is rejected or selected. */
  margin: number;
}

/**
 * Adds one token to the sums: how a quantized router decided against its reference. Returns the token's top-k
 * agreement. With k experts chosen by the reference (all with a weight other than 0 where there is no top-k):
 * - `mse`: mean over experts of the squared logit difference.
 * - `kl`: of the full softmax, reference to quantized, in nats; `topKKl`: of the softmax over the k.
 * - `topKAgreement`: |selected by both| / k; `exactSet`: 1 when the sets agree; `top1Agreement`: the heaviest agrees.
 * - `weightL1`: sum over experts of the absolute difference of routing weights.
 * - `marginFlipRate`: 1 when the root-mean-square logit error exceeds half the reference's margin between the last
 *   selected and the first rejected logit.
 * A decision by values that are not finite agrees with none.
 */
export function addToken(
  sums: RouterSums,
  { logits: r, chosen, margin, ...reference }: ReferenceDecision,
  { logits: q, chosen: other, ...own }: Decision,
): number {
  const isSound = reference.isSound && own.isSound;
  const k = chosen.size;
  const mse = meanSquare(r, q);
  const both = sharedBy(chosen, other);
  const agreement = isSound ? agreementOf(chosen, other) : 0;
  sums.tokens += 1;
  sums.mse += mse;
  sums.kl += softmaxDivergence(r, q);
  sums.topKKl += softmaxDivergence(among(chosen, r), among(chosen, q));
  sums.topKAgreement += agreement;
  sums.exactSet += isSound && both === k && other.size === k ? 1 : 0;
  sums.top1Agreement += isSound && heaviest(chosen) === heaviest(other) ? 1 : 0;
  sums.weightL1 += l1(chosen, other);
  sums.marginFlipRate += isSound && !(Math.sqrt(mse) > margin / 2) ? 0 : 1;
  return agreement;
}

/** The means over all tokens; NaN without a token. */
export function meansOf(sums: RouterSums): RouterMetrics {
  const { tokens, ...metrics } = sums;
  return Object.fromEntries(
    Object.entries(metrics).map(([name, sum]) => [name, sum / tokens]),
  ) as unknown as RouterMetrics;
}

export function choiceOf({ indices, weights, k }: TokenChoices, token: number): Choice {
  const chosen = new Map<number, number>();
  for (let slot = token * k; slot < (token + 1) * k; slot++) {
    const expert = indices ? indices[slot] : slot - token * k;
    if (indices || weights[slot] !== 0) chosen.set(expert, (chosen.get(expert) ?? 0) + weights[slot]);
  }
  return chosen;
}

export function decisionOf(routing: TokenRouting, token: number): Decision {
  const { experts } = routing;
  const logits = routing.logits.subarray(token * experts, (token + 1) * experts);
  const chosen = choiceOf(routing, token);
  const isSound = logits.every((logit) => logit < Infinity) && [...chosen.values()].every(Number.isFinite);
  return { logits, chosen, isSound };
}

export function referenceDecisionOf(routing: TokenRouting, token: number): ReferenceDecision {
  const decision = decisionOf(routing, token);
  return { ...decision, margin: marginOf(decision.logits, decision.chosen.size) };
}

/** Share of the experts chosen by the first that the second chose too; where it chose none, whether the second did so. */
export function agreementOf(chosen: Choice, other: Choice): number {
  return chosen.size === 0 ? Number(other.size === 0) : sharedBy(chosen, other) / chosen.size;
}

function sharedBy(a: Choice, b: Choice): number {
  let both = 0;
  for (const expert of a.keys()) if (b.has(expert)) both += 1;
  return both;
}

function heaviest(chosen: Choice): number {
  let best = -1;
  let most = -Infinity;
  for (const [expert, weight] of chosen) {
    if (weight > most) [best, most] = [expert, weight];
  }
  return best;
}

function l1(a: Choice, b: Choice): number {
  let sum = 0;
  for (const [expert, weight] of a) sum += Math.abs(weight - (b.get(expert) ?? 0));
  for (const [expert, weight] of b) if (!a.has(expert)) sum += Math.abs(weight);
  return sum;
}

function meanSquare(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return sum / a.length;
}

/** The logits of some experts. */
function among(chosen: Choice, logits: Float32Array): Float32Array {
  const picked = new Float32Array(chosen.size);
  let i = 0;
  for (const expert of chosen.keys()) picked[i++] = logits[expert];
  return picked;
}

function softmaxDivergence(p: Float32Array, q: Float32Array): number {
  const logSumP = logSumExp(p);
  const logSumQ = logSumExp(q);
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const logP = p[i] - logSumP;
    sum += Math.exp(logP) * (logP - (q[i] - logSumQ));
  }
  return sum;
}

function logSumExp(values: Float32Array): number {
  let most = -Infinity;
  for (const value of values) most = Math.max(most, value);
  let sum = 0;
  for (const value of values) sum += Math.exp(value - most);
  return most + Math.log(sum);
}

/** Distance between the k-th and the (k+1)-th largest logit. */
function marginOf(logits: Float32Array, k: number): number {
  if (k === 0 || k === logits.length) return Infinity;
  const sorted = logits.toSorted();
  return sorted[sorted.length - k] - sorted[sorted.length - k - 1];
}
