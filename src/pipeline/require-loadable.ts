import { Fault, isFault } from '../fault.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { openSession } from '../runtime/session.ts';

/**
 * Loads a written model as its users will: the check of its linears runs pieces of it.
 * @returns a note where ONNX Runtime takes neither it nor its source
 * @throws Fault PARITY where it takes the source alone
 */
export async function requireLoadable(
  written: string,
  source: string,
  options: SessionOptions,
): Promise<string[]> {
  const why = await refusalOf(written, options);
  if (why === null) return [];
  if ((await refusalOf(source, options)) !== null)
    return [`ONNX Runtime loads neither the model nor what was written of it: ${why}`];
  throw new Fault({
    code: 'PARITY',
    what: 'ONNX Runtime loads the model, but not what was written of it',
    where: source,
    why,
    remedy: 'this is a defect of the file or of ONNX Runtime: write another target, and report it',
  });
}

/** Why ONNX Runtime does not load a file; null if it does. */
async function refusalOf(path: string, options: SessionOptions): Promise<string | null> {
  try {
    const session = await openSession(path, { ...options, optimization: 'all' });
    await session.release();
    return null;
  } catch (error) {
    if (isFault(error)) return error.why ?? error.what;
    throw error;
  }
}
