import type { Model } from '../onnx/model.ts';
import { tokenInput } from './record.ts';

/** Rows of the embedding that a model looks its tokens up in; null where there is none to be seen. */
export function vocabularySize({ graph }: Model): number | null {
  const tokens = graph.inputs.find(({ name }) => name === tokenInput);
  const lookUp = tokens?.consumers.find(({ opType, inputs }) => opType === 'Gather' && inputs[1] === tokens);
  const table = lookUp?.inputs[0]?.tensor?.source;
  return table?.shape.length === 2 ? table.shape[0] : null;
}
