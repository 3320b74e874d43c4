import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Model } from '../../src/onnx/model.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';

/** Runs a model (as a file or in memory) once in ONNX Runtime, single-threaded. */
export async function runModel(
  model: Model | string,
  feeds: Record<string, Tensor> = {},
): Promise<Record<string, number[]>> {
  const options: InferenceSession.SessionOptions = { intraOpNumThreads: 1, logSeverityLevel: 3 };
  const session =
    typeof model === 'string'
      ? await InferenceSession.create(model, options)
      : await InferenceSession.create(encodeModel(model), options);
  const results = await session.run(feeds);
  await session.release();
  return Object.fromEntries(
    Object.entries(results).map(([name, { data }]) => [name, Array.from(data as Float32Array, Number)]),
  );
}

export function float32(values: readonly number[], dims: readonly number[] = [values.length]): Tensor {
  return new Tensor('float32', Float32Array.from(values), dims);
}
