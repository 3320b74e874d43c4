import { Fault } from '../fault.ts';
import { allNodes } from '../onnx/graph.ts';
import type { Model } from '../onnx/model.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { openSession, toFloats } from '../runtime/session.ts';
import type { ExpectedPart, ParityCheck } from './parity-checks.ts';
import { cutOf } from './parity-cut.ts';
import { normError, rowError } from './parity-error.ts';

/**
 * Executes every quantized linear of a written model on inputs of ours and compares with what was noted when its
 * weights were written.
 * @throws Fault PARITY for the first layer, linear and expert that differs
 */
export async function checkParity(
  model: Model,
  checks: readonly ParityCheck[],
  options: SessionOptions = {},
): Promise<void> {
  for (const check of checks) await runCheck(model, check, options);
}

async function runCheck(model: Model, check: ParityCheck, options: SessionOptions): Promise<void> {
  const cut = cutOf(model, check);
  if (check.exactKernels) computeExactly(cut.model);
  // As users load it, or not at all.
  const session = await openSession(cut.model, { optimization: 'all', ...options });
  try {
    for (const feeds of cut.ways) {
      const results = await session.run(feeds);
      check.expected.forEach((part, i) => compare(check, part, toFloats(results[cut.outputs[i]])));
    }
  } finally {
    await session.release();
  }
}

/** MatMulNBits with its activations in float32, at level 0. */
function computeExactly({ graph }: Model): void {
  for (const { attributes } of allNodes(graph)) {
    const level = attributes.get('accuracy_level');
    if (level) attributes.set('accuracy_level', { ...level, i: 0 });
  }
}

function compare(
  { layer, tolerance }: ParityCheck,
  { part, rows }: ExpectedPart,
  actual: Float32Array,
): void {
  let from = 0;
  for (const { id, ...linear } of rows) {
    const values = actual.subarray(from, (from += linear.rows.data.length));
    const error = tolerance < coarse ? rowError(values, linear) : normError(values, linear);
    const name = part === 'whole' ? 'gate, up and down' : part;
    const where = part === 'alone' ? layer.id : `layer ${layer.id}, expert ${id}, ${name}`;
    requireParity(error, tolerance, where);
  }
}

/** From this tolerance on errors are measured by their norm. */
const coarse = 1e-3;

function requireParity(error: number, tolerance: number, where: string): void {
  if (error <= tolerance) return;
  throw new Fault({
    code: 'PARITY',
    what: `a written linear does not compute what its weights stand for`,
    where,
    why: `its relative error is ${error.toExponential(2)}, more than ${tolerance}`,
    remedy: 'this is a defect of the file or of ONNX Runtime: write another target, and report it',
  });
}
