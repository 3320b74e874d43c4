import type { ExpertWeights, LinearWeights } from '../../moe/read-expert.ts';
import type { Hessian } from '../../quantize/hessian.ts';
import type { Matrix } from '../../tensor/matrix.ts';
import { matrix } from '../../tensor/matrix.ts';

/**
 * An expert with its neurons in another order: rows of gate and up, columns of down. It computes the same, and its hidden
 * activations come in that order. Neuron `order[i]` moves to place i.
 */
export function permuteNeurons({ gate, up, down }: ExpertWeights, order: Uint32Array): ExpertWeights {
  const rows = ({ weight, bias }: LinearWeights): LinearWeights => ({
    weight: permuteRows(weight, order),
    bias: bias && Float32Array.from(order, (neuron) => bias[neuron]),
  });
  return {
    gate: gate && rows(gate),
    up: rows(up),
    down: { ...down, weight: permuteColumns(down.weight, order) },
  };
}

/** XᵀX of hidden activations in that order. */
export function permuteHessian(hessian: Hessian, order: Uint32Array): Hessian {
  const { rows, cols, data } = hessian;
  const result = Float64Array.from(
    { length: rows * cols },
    (_, at) => data[order[Math.floor(at / cols)] * cols + order[at % cols]],
  );
  return { ...hessian, data: result };
}

function permuteRows({ rows, cols, data }: Matrix, order: Uint32Array): Matrix {
  const result = matrix(rows, cols);
  order.forEach((from, to) => result.data.set(data.subarray(from * cols, (from + 1) * cols), to * cols));
  return result;
}

function permuteColumns({ rows, cols, data }: Matrix, order: Uint32Array): Matrix {
  const result = matrix(rows, cols);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) result.data[r * cols + c] = data[r * cols + order[c]];
  }
  return result;
}
