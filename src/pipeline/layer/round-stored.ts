import type { QuantizedExpert, QuantizedLinear } from '../../emit/expert-emitter.ts';
import type { Expert } from '../../moe/moe-layer.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import { giveBuffer } from '../../tensor/spare-buffers.ts';
import type { MatrixView } from '../../tensor/view.ts';
import { readMatrix, readVector } from '../../tensor/view.ts';
import type { Rounding } from './rounding.ts';
import { tellingLinear } from './telling-linear.ts';

/** Rounds the weights of an expert as they are stored, where nothing is known of its inputs and nothing done to them. */
export async function roundStored(expert: Expert, round: Rounding): Promise<QuantizedExpert> {
  const linear = async (part: 'gate' | 'up' | 'down'): Promise<QuantizedLinear> => {
    const { weight, bias } = expert[part]!;
    return {
      weight: await tellingLinear(expert, part, () => roundStrips(weight, round)),
      bias: bias && readVector(bias.view),
    };
  };
  return {
    shift: null,
    gate: expert.gate && (await linear('gate')),
    up: await linear('up'),
    down: await linear('down'),
  };
}

/** Bytes of float32 that are read and rounded at a time: the caches of a core hold them until they are rounded. */
const stripBytes = 2 ** 20;

/** No row of a weight changes what becomes of another: it is read and rounded some rows at a time. */
async function roundStrips(view: MatrixView, round: Rounding): Promise<QuantizedTensor> {
  const { rows, cols, offset, rowStride, colStride } = view;
  const step = Math.ceil(stripBytes / (cols * 4));
  // Of a weight that is stored by columns every strip would be read through all of it.
  if (step >= rows || colStride !== 1) return roundMatrix(view, round);
  const codes = new Int8Array(rows * cols);
  const scales: Float32Array[] = [];
  const steps: Float32Array[] = [];
  for (let from = 0; ; from += step) {
    const strip = { ...view, rows: Math.min(step, rows - from), offset: offset + from * rowStride };
    const part = await roundMatrix(strip, round);
    codes.set(part.codes, from * cols);
    giveBuffer(part.codes);
    scales.push(part.scales);
    if (part.steps) steps.push(part.steps);
    if (from + step < rows) continue;
    const whole = { ...part, rows, codes, scales: joined(scales) };
    return part.steps ? { ...whole, steps: joined(steps) } : whole;
  }
}

async function roundMatrix(view: MatrixView, round: Rounding): Promise<QuantizedTensor> {
  const weight = readMatrix(view);
  const rounded = await round(weight, null);
  giveBuffer(weight.data);
  return rounded;
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const result = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of parts) {
    result.set(part, end);
    end += part.length;
  }
  return result;
}
