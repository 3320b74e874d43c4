import type { Linear, MoeLayer } from '../src/moe/moe-layer.ts';
import type { Builder } from '../src/onnx/build.ts';
import { builder } from '../src/onnx/build.ts';
import type { Model } from '../src/onnx/model.ts';
import type { Value } from '../src/onnx/value.ts';
import { readMatrix } from '../src/tensor/view.ts';
import { syntheticLayer } from '../test/helpers/synthetic-layer.ts';
import type { Size } from './layer-forms.ts';

/** A float layer as exporters write it: node for node what torch.export makes of the two Hugging Face styles. */
export function sourceForm(size: Size, style: 'loop' | 'batched'): Model {
  const { model, layer } = syntheticLayer({ ...size, routing: 'router', opset: 20 });
  const { routing, input, output } = layer.boundary!;
  if (routing.kind !== 'topk') throw new Error('the synthetic router chooses the k largest');
  const b = builder(model.graph, style);
  const write = style === 'loop' ? loop : batched;
  model.graph.replaceAllUses(output, write(b, layer, input, routing));
  model.graph.removeDeadCode();
  return model;
}

interface Chosen {
  k: number;
  /** [tokens, k] each. */
  indices: Value;
  weights: Value;
}

/** Every expert finds its tokens, computes them and adds them to the sum. */
function loop(b: Builder, { experts }: MoeLayer, x: Value, { indices, weights }: Chosen): Value {
  const ids = b.constant('ids', 'int64', [experts.length, 1, 1], [...experts.keys()]);
  const mask = b.op('Cast', [b.op('Equal', [indices, ids])], { to: 7 });
  const masks = b.op('Transpose', [mask], { perm: [0, 2, 1] });
  return experts.reduce(
    (sum, { gate, up, down }, e) => {
      const own = b.op('Transpose', [b.op('NonZero', [b.op('Gather', [masks, b.ints(e)])])], {
        perm: [1, 0],
      });
      const [slot, token] = [0, 1].map((column) =>
        b.op('Slice', [own, b.ints([column]), b.ints([column + 1]), b.ints([1])]),
      );
      const rows = b.op('GatherND', [x, token]);
      const hidden = silu(b, gemm(b, gate!, rows), gemm(b, up!, rows));
      const weight = b.op('GatherND', [weights, b.op('Concat', [token, slot], { axis: 1 })]);
      const weighted = b.op('Mul', [gemm(b, down!, hidden), b.op('Unsqueeze', [weight, b.ints([1])])]);
      return b.op('ScatterND', [sum, token, weighted], { reduction: 'add' });
    },
    b.op('ConstantOfShape', [b.op('Shape', [x])]),
  );
}

function gemm(b: Builder, { weight }: Linear, x: Value): Value {
  const { rows, cols } = weight;
  const constant = b.constant('weight', 'float32', [rows, cols], readMatrix(weight).data);
  return b.op('Gemm', [x, constant], { transB: 1 });
}

/** Every pair of token and expert gathers the weights of its expert. */
function batched(b: Builder, layer: MoeLayer, x: Value, { k, indices, weights }: Chosen): Value {
  const { hidden, experts } = layer;
  const chosen = b.op('Unsqueeze', [b.op('Reshape', [indices, b.ints([-1])]), b.ints([1])]);
  const repeated = b.op('Tile', [b.op('Unsqueeze', [x, b.ints([1])]), b.ints([1, k, 1])]);
  const rows = b.op('Reshape', [repeated, b.ints([-1, hidden, 1])]);
  const apply = (linears: Linear[][], input: Value): Value =>
    b.op('Squeeze', [b.op('MatMul', [b.op('GatherND', [stacked(b, linears), chosen]), input]), b.ints([2])]);
  const [gate, up] = b.ops(
    2,
    'Split',
    [
      apply(
        experts.map((expert) => [expert.gate!, expert.up!]),
        rows,
      ),
    ],
    { axis: 1, num_outputs: 2 },
  );
  const middle = b.op('Unsqueeze', [silu(b, gate, up), b.ints([2])]);
  const results = apply(
    experts.map(({ down }) => [down!]),
    middle,
  );
  const weighted = b.op('Mul', [results, b.op('Reshape', [weights, b.ints([-1, 1])])]);
  const byToken = b.op('Reshape', [weighted, b.ints([-1, k, hidden])]);
  return b.op('ReduceSum', [byToken, b.ints([1])], { keepdims: 0 });
}

/** [experts, out, in], several linears of an expert one under the other. */
function stacked(b: Builder, linears: readonly Linear[][]): Value {
  const { cols } = linears[0][0].weight;
  const out = linears[0].reduce((sum, { weight }) => sum + weight.rows, 0);
  const values = new Float32Array(linears.length * out * cols);
  let at = 0;
  for (const { weight } of linears.flat()) {
    values.set(readMatrix(weight).data, at);
    at += weight.rows * cols;
  }
  return b.constant('weights', 'float32', [linears.length, out, cols], values);
}

function silu(b: Builder, gate: Value, up: Value): Value {
  return b.op('Mul', [b.op('Mul', [gate, b.op('Sigmoid', [gate])]), up]);
}
