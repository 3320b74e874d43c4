import type { AttributeProto, FunctionProto, GraphProto, NodeProto, SparseTensorProto } from './messages.ts';
import type { TensorOrigin } from './tensor.ts';
import { inlineTensor } from './tensor.ts';

/*
 * Tensors of a graph are read lazily. Those in places that are rarely used and small (functions, sparse tensors,
 * lists of tensors) stay messages, and have their data read into them at once.
 */

export function inlineFunctionData({ node = [] }: FunctionProto, origin: TensorOrigin): void {
  for (const each of node) inlineNodeData(each, origin);
}

export function inlineAttributeData(attribute: AttributeProto, origin: TensorOrigin): void {
  const { t, tensors, sparseTensor, sparseTensors = [], g, graphs = [] } = attribute;
  if (t) attribute.t = inlineTensor(t, origin);
  if (tensors) attribute.tensors = tensors.map((tensor) => inlineTensor(tensor, origin));
  for (const sparse of sparseTensor ? [sparseTensor] : sparseTensors) inlineSparseData(sparse, origin);
  for (const graph of g ? [g] : graphs) inlineGraphData(graph, origin);
}

export function inlineSparseData(sparse: SparseTensorProto, origin: TensorOrigin): void {
  if (sparse.values) sparse.values = inlineTensor(sparse.values, origin);
  if (sparse.indices) sparse.indices = inlineTensor(sparse.indices, origin);
}

function inlineGraphData(graph: GraphProto, origin: TensorOrigin): void {
  if (graph.initializer) graph.initializer = graph.initializer.map((tensor) => inlineTensor(tensor, origin));
  for (const sparse of graph.sparseInitializer ?? []) inlineSparseData(sparse, origin);
  for (const node of graph.node ?? []) inlineNodeData(node, origin);
}

function inlineNodeData({ attribute = [] }: NodeProto, origin: TensorOrigin): void {
  for (const each of attribute) inlineAttributeData(each, origin);
}
