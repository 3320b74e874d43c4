import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import { hadamardMatrix } from '../../quantize/hadamard.ts';
import type { LinearForm } from '../linear-form.ts';

/** Block sizes of the rotations in front of gate and up (`input`) and of down (`hidden`); null for none. */
export interface RotationBlocks {
  input: number | null;
  hidden: number | null;
}

export const noRotation: RotationBlocks = { input: null, hidden: null };

export function isRotated({ input, hidden }: RotationBlocks): boolean {
  return input !== null || hidden !== null;
}

/**
 * A form whose inputs pass a block-Hadamard rotation first, which spreads the outliers of a block over all its channels
 * (QuaRot, arXiv 2404.00456). The caller rotates the weights alike. Costs block multiplications per channel at run time.
 */
export function rotatedForm(form: LinearForm, blocks: RotationBlocks): LinearForm {
  return {
    ...form,
    prepare(b, x, input) {
      const block = blocks[input.part];
      return form.prepare(b, block === null ? x : rotate(b, x, block, input.part), input);
    },
  };
}

/** x·diag(H, …, H) for x [n, channels], as one product of matrices. */
function rotate(b: Builder, x: Value, block: number, part: string): Value {
  const hadamard = b.constant('hadamard', 'float32', [block, block], hadamardMatrix(block).data);
  const blocks = b.op('Reshape', [x, b.ints([-1, block])], {}, { name: 'blocks' });
  const rotated = b.op('MatMul', [blocks, hadamard], {}, { name: 'rotated' });
  return b.op('Reshape', [rotated, b.op('Shape', [x])], {}, { name: `${part}/rotated` });
}
