import { Fault } from '../fault.ts';
import { activate } from '../moe/activation.ts';
import type { Activation } from '../moe/moe-layer.ts';
import type { Matrix } from '../tensor/matrix.ts';

/** What `emitActivation` writes, computed here: the input of `down` from the results of the first linears. */
export function applyActivation(activation: Activation, gate: Matrix | null, up: Matrix): Matrix {
  if (activation.name === 'unknown') {
    throw new Fault({
      code: 'ACTIVATION_UNKNOWN',
      what: 'the activation function of the experts is unknown',
    });
  }
  return { ...up, data: up.data.map((value, i) => activate(activation, gate ? gate.data[i] : null, value)) };
}
