import type { Graph } from '../../onnx/graph.ts';
import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { numbersOf, tensorOf } from './constant.ts';
import type { Dims } from './dims.ts';
import { outputIntegers } from './known-integers.ts';
import { outputShapes } from './shape-rules.ts';

/**
 * Shapes worked out from operators and constants alone. Declared shapes are believed only for graph inputs and where
 * nothing else is known: exporters write wrong ones.
 */
export interface Shapes {
  /** Null when not even the rank is known. */
  shapeOf(value: Value | null | undefined): Dims | null;
  /** What is known of a small vector of integers (shapes, axes, bounds). */
  integersOf(value: Value | null | undefined): Dims | null;
}

interface State {
  shapes: Map<Value, Dims | null>;
  integers: Map<Value, Dims>;
}

/** Works through `nodes`, which must be in topological order, once. */
export function inferShapes(graph: Graph, nodes: readonly Node[], outer?: Shapes): Shapes {
  const state: State = { shapes: new Map(), integers: new Map() };
  const facts: Shapes = {
    shapeOf: (value) => {
      if (!value) return null;
      const stored = tensorOf(value);
      if (stored) return [...stored.source.shape];
      return state.shapes.get(value) ?? declaredShape(value) ?? outer?.shapeOf(value) ?? null;
    },
    integersOf: (value) => {
      if (!value) return null;
      return state.integers.get(value) ?? numbersOf(value) ?? outer?.integersOf(value) ?? null;
    },
  };
  for (const input of graph.inputs) state.shapes.set(input, declaredShape(input));
  for (const node of nodes) inferNode(node, facts, state);
  return facts;
}

function declaredShape(value: Value): Dims | null {
  return value.shape?.map((dim) => (typeof dim === 'number' ? dim : null)) ?? null;
}

/** No real tensor has more axes. */
const maxRank = 32;

function inferNode(node: Node, facts: Shapes, state: State): void {
  const shapes = outputShapes(node, facts);
  node.outputs.forEach((output, index) => {
    const shape = shapes?.[index];
    if (output && shape && shape.length <= maxRank) state.shapes.set(output, shape);
  });
  const integers = outputIntegers(node, facts);
  const [first] = node.outputs;
  if (first && integers && integers.length <= 64) state.integers.set(first, integers);
}
