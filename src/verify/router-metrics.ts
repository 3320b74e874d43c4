import type { RouterMetrics } from '../report/report.ts';
import type { TokenRouting } from './token-routing.ts';

/** The sums behind {@link RouterMetrics}, so that batches and records can be added up. */
export type RouterSums = { tokens: number } & RouterMetrics;

export function emptySums(): RouterSums {
  return {
    tokens: 0,
    mse: 0,
    kl: 0,
    topKAgreement: 0,
    exactSet: 0,
    top1Agreement: 0,
    weightL1: 0,
    marginFlipRate: 0,
  };
}

/**
 * Adds one token to the sums: how a quantized router decided against its reference. Returns its top-k agreement.
 * - `mse`: mean over experts of the squared logit difference.
 * - `kl`: of the full softmax, reference to quantized, in nats.
 * - `topKAgreement`: |selected by both| / k; `exactSet`: 1 when the sets agree; `top1Agreement`: the heaviest agrees.
 * - `weightL1`: sum over experts of the absolute difference of routing weights.
 * - `marginFlipRate`: 1 when the root-mean-square logit error exceeds half the reference's margin between the last
 *   selected and the first rejected logit.
 */
export function addToken(
  sums: RouterSums,
  reference: TokenRouting,
  quantized: TokenRouting,
  token: number,
): number {
  const { experts, k } = reference;
  const r = reference.logits.subarray(token * experts, (token + 1) * experts);
  const q = quantized.logits.subarray(token * experts, (token + 1) * experts);
  const mse = meanSquare(r, q);
  const chosenR = selection(reference, token);
  const chosenQ = selection(quantized, token);
  const shared = [...chosenR.keys()].filter((expert) => chosenQ.has(expert)).length;
  sums.tokens += 1;
  sums.mse += mse;
  sums.kl += softmaxDivergence(r, q);
  sums.topKAgreement += shared / k;
  sums.exactSet += shared === k ? 1 : 0;
  sums.top1Agreement += heaviest(chosenR) === heaviest(chosenQ) ? 1 : 0;
  sums.weightL1 += l1(chosenR, chosenQ);
  sums.marginFlipRate += k < experts && Math.sqrt(mse) > margin(r, k) / 2 ? 1 : 0;
  return shared / k;
}

/** The means over all tokens; NaN without a token. */
export function meansOf(sums: RouterSums): RouterMetrics {
  const { tokens, ...metrics } = sums;
  return Object.fromEntries(
    Object.entries(metrics).map(([name, sum]) => [name, sum / tokens]),
  ) as RouterMetrics;
}

/** Selected experts with their weights. */
function selection({ indices, weights, k }: TokenRouting, token: number): Map<number, number> {
  const chosen = new Map<number, number>();
  for (let j = 0; j < k; j++) {
    const expert = indices ? indices[token * k + j] : j;
    chosen.set(expert, (chosen.get(expert) ?? 0) + weights[token * k + j]);
  }
  return chosen;
}

function heaviest(chosen: ReadonlyMap<number, number>): number {
  let best = -1;
  let most = -Infinity;
  for (const [expert, weight] of chosen) {
    if (weight > most) [best, most] = [expert, weight];
  }
  return best;
}

function l1(a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>): number {
  let sum = 0;
  for (const expert of new Set([...a.keys(), ...b.keys()])) {
    sum += Math.abs((a.get(expert) ?? 0) - (b.get(expert) ?? 0));
  }
  return sum;
}

function meanSquare(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return sum / a.length;
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
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** Distance between the k-th and the (k+1)-th largest logit. */
function margin(logits: Float32Array, k: number): number {
  const sorted = logits.toSorted();
  return sorted[sorted.length - k] - sorted[sorted.length - k - 1];
}
