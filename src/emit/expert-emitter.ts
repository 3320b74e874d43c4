import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { Dispatch } from './dispatch-tokens.ts';

/**
 * Writes the experts of one layer in one target form: from all tokens [T, hidden] to each pair's result
 * [S, hidden], before routing weights on the output.
 */
export type ExpertEmitter = (b: Builder, tokens: Value, dispatch: Dispatch) => Value;
