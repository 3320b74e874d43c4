import { Fault } from '../fault.ts';
import { activate } from '../moe/activation.ts';
import type { Activation, Formula } from '../moe/moe-layer.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { Matrix } from '../tensor/matrix.ts';

/** From the results of the first linears ([n, intermediate] each) to the input of `down`. */
export function emitActivation(b: Builder, activation: Activation, gate: Value | null, up: Value): Value {
  const { limit, upOffset } = activation;
  if (!gate) return bounded(b, activation, up, ['up', 'hidden']);
  const clipped =
    limit === null ? up : b.op('Clip', [up, scalar(b, -limit), scalar(b, limit)], {}, { name: 'up' });
  const shifted = upOffset === 0 ? clipped : b.op('Add', [clipped, scalar(b, upOffset)], {}, { name: 'up' });
  const activated = bounded(b, activation, gate, ['gate', 'activated']);
  return b.op('Mul', [activated, shifted], {}, { name: 'hidden' });
}

/** The function of the result of one linear, whose input is cut to at most the limit, or else what it gives. */
function bounded(b: Builder, activation: Activation, x: Value, names: [string, string]): Value {
  const { name, limit } = activation;
  const [before, after] = names;
  const atMost = (value: Value, hint: string): Value =>
    limit === null ? value : b.op('Min', [value, scalar(b, limit)], {}, { name: hint });
  return name === 'capped-silu'
    ? atMost(nonlinearity(b, activation, x, before), after)
    : nonlinearity(b, activation, atMost(x, before), after);
}

function nonlinearity(b: Builder, { name, alpha, formula }: Activation, x: Value, hint: string): Value {
  const options = { name: hint };
  switch (name) {
    case 'silu':
    case 'capped-silu': {
      const scaled = alpha === 1 ? x : b.op('Mul', [x, scalar(b, alpha)]);
      return b.op('Mul', [x, b.op('Sigmoid', [scaled])], {}, options);
    }
    case 'gelu':
      return b.op('Gelu', [x], {}, options);
    case 'gelu-tanh':
      return b.op('Gelu', [x], { approximate: 'tanh' }, options);
    case 'relu':
      return b.op('Relu', [x], {}, options);
    case 'relu2': {
      const positive = b.op('Relu', [x]);
      return b.op('Mul', [positive, positive], {}, options);
    }
    case 'identity':
      // So that the input of `down` has its name.
      return b.op('Identity', [x], {}, options);
    case 'elementwise':
      return emitFormula(b, formula!, x, hint);
    default:
      throw unknownActivation();
  }
}

/** A formula operator by operator. */
function emitFormula(b: Builder, formula: Formula, x: Value, hint?: string): Value {
  if (formula === 'x') return x;
  if (typeof formula === 'number') return scalar(b, formula);
  const { opType, inputs, attributes } = formula;
  const operands = inputs.map((each) => (each === null ? null : emitFormula(b, each, x)));
  return b.op(opType, operands, { ...attributes }, hint === undefined ? {} : { name: hint });
}

/** The same, computed here: the slow twin. */
export function applyActivation(activation: Activation, gate: Matrix | null, up: Matrix): Matrix {
  if (activation.name === 'unknown') throw unknownActivation();
  return { ...up, data: up.data.map((value, i) => activate(activation, gate ? gate.data[i] : null, value)) };
}

function unknownActivation(): Fault {
  return new Fault({
    code: 'ACTIVATION_UNKNOWN',
    what: 'the activation function of the experts is unknown',
    remedy: 'run "moeq inspect --explain"; export the model in another form',
  });
}

function scalar(b: Builder, value: number): Value {
  return b.constant('scalar', 'float32', [], [value]);
}
