import { emitLayer } from '../../src/emit/emit-layer.ts';
import { emitterFor } from '../../src/emit/emitter-for.ts';
import type { QuantizedExpert } from '../../src/emit/expert-emitter.ts';
import type { AccuracyLevel } from '../../src/emit/forms/nbits-form.ts';
import type { Target, TargetRequest } from '../../src/emit/resolve-target.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import type { Expert } from '../../src/moe/moe-layer.ts';
import { raiseOpset } from '../../src/onnx/raise-opset.ts';
import type { QuantizedTensor } from '../../src/quantize/quantized-tensor.ts';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import type { SchemeName } from '../../src/quantize/scheme.ts';
import type { SessionOptions } from '../../src/runtime/session.ts';
import { floatToHalf, halfToFloat } from '../../src/tensor/half.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import type { LayerSpec } from '../helpers/synthetic-layer.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';
import { gaussian } from '../quantize/random.ts';
import { quantizeByRtn, rowError, slowActivation, slowLinear } from './expert-twin.ts';
import { exposeLayer } from './expose-layer.ts';
import type { TokenRoute } from './run-layer.ts';
import { feedsOf, randomRoutes, runOnce } from './run-layer.ts';

/** One run of one emitted layer. */
export interface Trial {
  target?: Target | 'auto';
  group?: number | 'auto' | 'channel';
  accuracyLevel?: AccuracyLevel;
  spec?: Partial<LayerSpec>;
  scheme?: SchemeName;
  activations?: NonNullable<TargetRequest['activations']>;
  /** Every expert but the first has a shift of its own. */
  isShifted?: boolean;
  tokens?: number;
  routes?: TokenRoute[];
  x?: Matrix;
  optimization?: SessionOptions['optimization'];
  threads?: number;
}

/** Largest errors of a whole run: of any linear, of any activation, and of the sum over experts. */
export interface Errors {
  linear: number;
  activation: number;
  sum: number;
}

/** Emits a synthetic layer, runs it, and compares every linear with its slow twin on the input it really had. */
export async function errorsOf(trial: Trial): Promise<Errors> {
  const { model, layer, spec } = syntheticLayer(trial.spec);
  const { target = 'int', scheme = 'w4a4', group = 'auto', activations = { block: 'auto' } } = trial;
  const resolved = resolveTarget({ scheme, target, group, activations });
  const weights = new Map(
    layer.experts.map((expert, i) => {
      const shift = trial.isShifted && i > 0 ? shiftOf(spec.hidden, i) : null;
      return [expert.id, { ...quantizeByRtn(expert, resolved), shift }];
    }),
  );
  raiseOpset(model, resolved.opset);
  const { accuracyLevel = 0 } = trial;
  const weightsOf = ({ id }: Expert): QuantizedExpert => weights.get(id)!;
  emitLayer(model, layer, emitterFor(resolved, { layer, weightsOf, accuracyLevel, fewRowsAbove: 0 }));
  model.graph.removeDeadCode();
  exposeLayer(model, layer);
  const routes = trial.routes ?? randomRoutes(spec, trial.tokens ?? 5);
  const x = trial.x ?? gaussian(routes.length, spec.hidden, 3);
  const run = await runOnce(model, feedsOf(spec, x, routes), {
    optimization: trial.optimization ?? 'all',
    threads: trial.threads ?? 1,
  });
  const asMatrix = (name: string): Matrix => {
    const { dims, data } = run[name];
    return { rows: dims[0], cols: dims[1], data };
  };

  const input =
    spec.dtype === 'float16'
      ? matrix(x.rows, x.cols, new Float32Array(Array.from(x.data, (v) => halfToFloat(floatToHalf(v)))))
      : x;
  const errors = { linear: 0, activation: 0, sum: 0 };
  const sum = matrix(x.rows, x.cols);
  let start = 0;
  for (const expert of layer.experts) {
    const own = tokensOf(expert, routes);
    const part = (name: string): Matrix => rowRange(asMatrix(`moeq/L0/${name}`), start, own.length);
    const seen = {
      gate: expert.gate ? part('gate') : null,
      up: part('up'),
      hidden: part('hidden'),
      output: part('results'),
    };
    start += own.length;
    const { shift, gate, up, down } = weights.get(expert.id)!;
    const gathered = gather(input, own, routes, spec.appliesTo === 'input' ? expert.index : null);
    const rows = shift ? minus(gathered, dequantize(shift).data) : gathered;
    const check = (linear: NonNullable<QuantizedExpert['gate']>, from: Matrix, actual: Matrix): void => {
      const expected = slowLinear(linear, from, resolved.gridOf(from.cols));
      errors.linear = Math.max(errors.linear, rowError(actual, expected));
    };
    if (gate) check(gate, rows, seen.gate!);
    check(up, rows, seen.up);
    errors.activation = Math.max(
      errors.activation,
      rowError(seen.hidden, slowActivation(layer.activation, seen.gate, seen.up)),
    );
    check(down, seen.hidden, seen.output);
    own.forEach((token, i) => {
      const weight = spec.appliesTo === 'input' ? 1 : routes[token].get(expert.index)!;
      for (let c = 0; c < x.cols; c++)
        sum.data[token * x.cols + c] += weight * seen.output.data[i * x.cols + c];
    });
  }
  errors.sum = rowError(asMatrix('y'), sum);
  return errors;
}

function shiftOf(hidden: number, seed: number): QuantizedTensor {
  return quantizeRtn(gaussian(1, hidden, seed), { bits: 8, groupSize: hidden });
}

function minus({ rows, cols, data }: Matrix, shift: Float32Array): Matrix {
  return matrix(
    rows,
    cols,
    data.map((value, i) => value - shift[i % cols]),
  );
}

function rowRange({ cols, data }: Matrix, start: number, rows: number): Matrix {
  return matrix(rows, cols, Float32Array.from(data.subarray(start * cols, (start + rows) * cols)));
}

function tokensOf({ index }: Expert, routes: readonly TokenRoute[]): number[] {
  return routes.flatMap((route, token) => (route.has(index) ? [token] : []));
}

/** The tokens' rows, multiplied by their routing weight where that applies to the input. */
function gather(x: Matrix, tokens: number[], routes: readonly TokenRoute[], weighted: number | null): Matrix {
  const result = matrix(tokens.length, x.cols);
  tokens.forEach((token, i) => {
    const weight = weighted === null ? 1 : routes[token].get(weighted)!;
    for (let c = 0; c < x.cols; c++) result.data[i * x.cols + c] = x.data[token * x.cols + c] * weight;
  });
  return result;
}

/**
 * For `toSatisfy`: no linear is off by `tolerance`, relative to the largest value of its row, nor anything else by
 * 1e-5.
 */
export function within(tolerance: number, sumTolerance = 1e-5): (errors: Errors) => boolean {
  return ({ linear, activation, sum }) => linear < tolerance && activation < 1e-5 && sum < sumTolerance;
}
