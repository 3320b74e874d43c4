import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { frozenTokens } from '../../src/moe/rules/token-source.ts';
import type { Builder } from '../../src/onnx/build.ts';
import { Value } from '../../src/onnx/value.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { makeModel } from '../helpers/make-model.ts';
import type { Part } from './helpers/parts.ts';
import {
  block,
  choose,
  expert,
  experts,
  flat,
  hidden,
  logits,
  maskedExperts,
  maskedLayer,
  pickedExperts,
  scalar,
  scatter,
  sharedExperts,
  shareOf,
  sum,
  weight,
  width,
} from './helpers/parts.ts';

type Write = typeof expert;

const masked =
  (write: Write): Part =>
  (b, x) =>
    maskedExperts(b, x, choose(b, logits(b, x)), write);

/** Every output of `write` times its share in a softmax over `columns`, without a choice. */
const weighed =
  (write: Write, columns = experts, count = columns): Part =>
  (b, x) => {
    const shares = b.op('Softmax', [logits(b, x, columns)], { axis: -1 });
    const outputs = Array.from({ length: count }, (_, e) => {
      const share = b.op('Slice', [shares, b.ints([e]), b.ints([e + 1]), b.ints([-1])]);
      return b.op('Mul', [write(b, x, e), share]);
    });
    return sum(b, outputs);
  };

/** An ungated expert: its hidden activations, and what becomes of them. */
const ffn =
  (activate: Part, inner = width): Write =>
  (b, x, e) => {
    const up = b.op('MatMul', [x, weight(b, `up.${e}`, [hidden, width])]);
    return b.op('MatMul', [activate(b, up), weight(b, `down.${e}`, [inner, hidden])]);
  };

const single: Write = (b, x, e) => b.op('MatMul', [x, weight(b, `single.${e}`, [hidden, hidden])]);
const relu: Part = (b, x) => b.op('Relu', [x]);
const oneUngated: Write = (b, x, e) => (e === 2 ? ffn(relu)(b, x, e) : expert(b, x, e));
const topOf = (b: Builder, scores: Value): Value => b.ops(2, 'TopK', [scores, b.ints([1])])[0];

/** Chosen weights on stacks of weights, [tokens, k, ...]; `up` and `down` are what experts are picked from. */
const gathered =
  (pick: (b: Builder, tokens: Value, indices: Value) => Value): Part =>
  (b, x) => {
    const tokens = flat(b, x);
    const [weights, indices] = choose(b, logits(b, tokens));
    return b.op('Mul', [pick(b, tokens, indices), b.op('ReduceSum', [weights, b.ints([-1])])]);
  };

/** One expert per token, whose rows are put back. */
const scattered =
  (reduction: string): Part =>
  (b, x) => {
    const tokens = flat(b, x);
    return pickedExperts(b, tokens, choose(b, logits(b, tokens), 1), { put: scatter(reduction) });
  };

it.each(['none', 'add'])('one expert per token is put back by %s', (reduction) => {
  expect(locate(block(scattered(reduction))).layers).toMatchObject([{ quantizable: true, reason: '' }]);
});

/** Where no layer is found: the reasons that are told. */
const rejections: Record<string, [Part, string]> = {
  'as many columns as a vocabulary': [
    (b, x) => topOf(b, b.op('MatMul', [x, weight(b, 'head', [hidden, 3000])])),
    'gives 3000 columns, more than any router has',
  ],
  'a stack of routers': [
    (b, x) =>
      topOf(
        b,
        b.op('MatMul', [b.op('Unsqueeze', [x, b.ints([1])]), weight(b, 'heads', [3, hidden, experts])]),
      ),
    'multiplies by a stack of weights: no router does',
  ],
  'a router of one channel': [
    (b, x) =>
      topOf(b, b.op('MatMul', [b.op('ReduceMean', [x, b.ints([-1])]), weight(b, 'narrow', [1, experts])])),
    'reads a single channel',
  ],
  'more columns than branches, and no choice': [
    weighed(expert, experts + 2, experts),
    `nothing is selected, yet ${experts + 2} columns weigh ${experts} branches`,
  ],
  'a router that reads the branches': [
    (b, x) => {
      const branches = Array.from({ length: experts }, (_, e) => expert(b, x, e));
      const shares = b.op('Softmax', [logits(b, sum(b, branches))], { axis: -1 });
      const column = (e: number): Value =>
        b.op('Slice', [shares, b.ints([e]), b.ints([e + 1]), b.ints([-1])]);
      return sum(
        b,
        branches.map((branch, e) => b.op('Mul', [branch, column(e)])),
      );
    },
    'it reads what the branches compute: a fusion of features, not a choice among experts',
  ],
  'branches of one weight that no column tells apart': [
    (b, x) => {
      const shares = b.op('Softmax', [logits(b, x)], { axis: -1 });
      const write = sharedExperts(() => 0);
      const weigh = b.op('ReduceMax', [shares, b.ints([-1])]);
      return sum(b, [b.op('Mul', [write(b, x, 0), weigh]), b.op('Mul', [write(b, x, 1), weigh])]);
    },
    'its branches share one weight',
  ],
  'two single linears': [weighed(single, 2), 'what it weighs are single linears, too few to be experts'],
  'one expert': [weighed(expert, experts, 1), 'there is only one expert'],
};

describe('no layer is found, and it is said why', () => {
  it.each(Object.entries(rejections))('%s', (_name, [part, reason]) => {
    const { layers, rejected } = locate(block(part));
    expect(layers).toEqual([]);
    expect(rejected.map((each) => each.reason).join('\n')).toContain(reason);
  });
});

/** Experts of which each takes its first three tokens, and no more. */
const capped: Part = (b, x) => {
  const tokens = flat(b, x);
  const [weights, indices] = choose(b, logits(b, tokens));
  const zeros = b.op('ConstantOfShape', [b.op('Shape', [tokens])]);
  const routed = Array.from({ length: experts }, (_, e) => e).reduce((total, e) => {
    const all = b.op('NonZero', [b.op('Equal', [indices, b.ints(e)])]);
    const places = b.op('Slice', [all, b.ints([0]), b.ints([3]), b.ints([1])]);
    const rows = b.op('Gather', [places, b.ints(0)]);
    const shares = b.op('GatherND', [weights, b.op('Transpose', [places], { perm: [1, 0] })]);
    const output = expert(b, b.op('Gather', [tokens, rows]), e);
    const weighed = b.op('Mul', [output, b.op('Unsqueeze', [shares, b.ints([-1])])]);
    const at = b.op('Unsqueeze', [rows, b.ints([-1])]);
    return b.op('ScatterND', [total, at, weighed], { reduction: 'add' });
  }, zeros);
  return b.op('Reshape', [routed, b.op('Shape', [x])]);
};

/** Where a layer is found that cannot be written anew. */
const refusals: Record<string, [Part, string]> = {
  'a number of tokens that an expert takes at most': [capped, 'is no table of 2 experts per token'],
  'experts that give other channels than they read': [
    (b, x) => {
      const wide: Write = (_, tokens, e) =>
        b.op('MatMul', [
          b.op('Relu', [b.op('MatMul', [tokens, weight(b, `${e}.up`, [hidden, width])])]),
          weight(b, `${e}.down`, [width, 2 * hidden]),
        ]);
      return b.op('Slice', [masked(wide)(b, x), b.ints([0]), b.ints([hidden]), b.ints([-1])]);
    },
    'its experts read 8 channels and give 16',
  ],
  'a mix of channels inside the experts': [
    (b, x) => {
      const chosen = choose(b, logits(b, x));
      const mix = ffn((_b, up) => b.op('CumSum', [up, b.ints(-1)]));
      const write: Write = (_b, _x, e) => mix(b, b.op('Mul', [x, shareOf(b, chosen, e)]), e);
      return maskedExperts(b, x, chosen, write);
    },
    'the way from its first linears to the next ones was not understood',
  ],
  'hidden activations beside themselves': [
    masked(ffn((b, up) => b.op('Concat', [up, up], { axis: -1 }), 2 * width)),
    'the first linears of an expert were not found',
  ],
  'an expert of another kind': [masked(oneUngated), 'its branches have unequal shapes'],
  'stacks of unequal length': [
    gathered((b, tokens, indices) => {
      const pick = (name: string, shape: number[]): Value =>
        b.op('Gather', [weight(b, name, shape), indices]);
      const up = b.op('MatMul', [
        pick('ups', [experts + 1, width, hidden]),
        b.op('Reshape', [tokens, b.ints([-1, 1, hidden, 1])]),
      ]);
      const down = b.op('MatMul', [pick('downs', [experts, hidden, width]), relu(b, up)]);
      return b.op('ReduceSum', [b.op('Squeeze', [down, b.ints([-1])]), b.ints([1])], { keepdims: 0 });
    }),
    'the stacks of its linears differ in length',
  ],
  'a branch of another kind, where all count': [weighed(oneUngated), 'its branches have unequal shapes'],
  'experts of one linear': [weighed(single), 'its experts are single linears'],
  'an unknown activation': [
    masked(ffn((b, up) => b.op('Mul', [relu(b, up), weight(b, 'slopes', [width])]))),
    'the function between the first linears and the last is not a known activation',
  ],
  'activations of unequal factors': [
    masked((b, x, e) => ffn((_b, up) => b.op('LeakyRelu', [up], { alpha: { f: 0.1 * e } }))(b, x, e)),
    'its branches have unequal activations',
  ],
  'three linears in a row': [
    masked((b, x, e) =>
      ffn((_b, up) => relu(b, b.op('MatMul', [relu(b, up), weight(b, `middle.${e}`, [width, width])])))(
        b,
        x,
        e,
      ),
    ),
    'its experts have more than two linears in a row',
  ],
  'codes for weights': [
    masked((b, x, e) => {
      const codes = b.constant(
        `codes.${e}`,
        'int8',
        [hidden, width],
        Array<number>(hidden * width).fill(e + 1),
      );
      const up = b.op('MatMul', [x, b.op('DequantizeLinear', [codes, scalar(b, 0.1)])]);
      return b.op('MatMul', [relu(b, up), weight(b, `down.${e}`, [width, hidden])]);
    }),
    'its experts are quantized already',
  ],
  'weights the wrong way round': [
    masked((b, x, e) =>
      b.op('MatMul', [
        relu(b, b.op('MatMul', [x, weight(b, `up.${e}`, [width, hidden])])),
        weight(b, `down.${e}`, [width, hidden]),
      ]),
    ),
    'the shapes of its weights do not fit',
  ],
  'a weight that counts twice': [
    (b, x) => {
      const chosen = choose(b, logits(b, x));
      const write: Write = (_b, _x, e) => b.op('Mul', [expert(b, x, e), shareOf(b, chosen, e)]);
      return maskedExperts(b, x, chosen, write);
    },
    'is weighed 2 times by the routing, not once',
  ],
  'masks over unequal weights': [
    (b, x) => {
      const [weights, indices] = choose(b, logits(b, x));
      const squares = b.op('Mul', [weights, weights]);
      const outputs = Array.from({ length: experts }, (_, e) =>
        b.op('Mul', [expert(b, x, e), shareOf(b, [e === 0 ? squares : weights, indices], e)]),
      );
      return sum(b, outputs);
    },
    'its experts are masked in unequal ways',
  ],
  'a choice that weighs nothing': [
    (b, x) => {
      const best = b.op('ArgMax', [logits(b, x)], { axis: -1 });
      const outputs = Array.from({ length: experts }, (_, e) =>
        b.op('Mul', [expert(b, x, e), b.op('Cast', [b.op('Equal', [best, b.ints(e)])], { to: 1 })]),
      );
      return sum(b, outputs);
    },
    'its experts are weighed by unequal tables',
  ],
  'experts that read what the routing weighed': [
    (b, x) => {
      const chosen = choose(b, logits(b, x));
      return sum(
        b,
        Array.from({ length: experts }, (_, e) => expert(b, b.op('Mul', [x, shareOf(b, chosen, e)]), e)),
      );
    },
    "the weights of the experts' inputs were not found",
  ],
  'experts that the routing weighs before and after': [
    (b, x) => {
      const chosen = choose(b, logits(b, x));
      const write: Write = (_b, _x, e) => expert(b, b.op('Mul', [x, shareOf(b, chosen, e)]), e);
      return maskedExperts(b, x, chosen, write);
    },
    'the routing weighs both input and output of the experts',
  ],
  'tokens that are picked twice': [
    (b, x) => {
      const tokens = flat(b, x);
      const [weights, indices] = choose(b, logits(b, tokens));
      const outputs = Array.from({ length: experts }, (_, e) => {
        const rows = b.op('Gather', [b.op('NonZero', [b.op('Equal', [indices, b.ints(e)])]), b.ints(0)]);
        const twice = b.op('Gather', [b.op('Gather', [tokens, rows]), rows]);
        return b.op('Mul', [
          expert(b, twice, e),
          b.op('Gather', [b.op('ReduceMax', [weights, b.ints([-1])]), rows]),
        ]);
      });
      return b.op('Concat', outputs, { axis: 0 });
    },
    'picks tokens a second time',
  ],
  'a sum over tokens': [
    (b, x) => b.op('ReduceSum', [masked(expert)(b, x), b.ints([1])]),
    'sums over an axis that is neither choices nor experts',
  ],
  ...Object.fromEntries(
    ['max', 'min', 'mul'].map((reduction) => [
      `rows that are put back by ${reduction}`,
      [scattered(reduction), `puts together by ${reduction}, not by a sum`],
    ]),
  ),
  'weights that lie in the stack in another order': [
    (b, x) => {
      const downs = weight(b, 'downs', [experts, width, hidden]);
      const write: Write = (_b, _x, e) => {
        const up = b.op('MatMul', [x, weight(b, `up.${e}`, [hidden, width])]);
        return b.op('MatMul', [relu(b, up), b.op('Gather', [downs, b.ints(experts - 1 - e)])]);
      };
      return masked(write)(b, x);
    },
    'the graph numbers its experts in two ways that disagree',
  ],
};

const shared = (b: Builder, x: Value, name: string): Value => {
  const up = b.op('MatMul', [x, weight(b, `${name}.up`, [hidden, width])]);
  return b.op('MatMul', [relu(b, up), weight(b, `${name}.down`, [width, hidden])]);
};

it.each([2, 5])('of %i shared experts one is described, and it is said so', (count) => {
  const model = block((b, x) => {
    const names = Array.from({ length: count }, (_, at) => `shared.${at}`);
    return sum(b, [masked(expert)(b, x), ...names.map((name) => shared(b, x, name))]);
  });
  const { layers, leftOut } = locate(model);
  expect(layers[0].shared).toMatchObject({ intermediate: width });
  expect(layers[0].warnings).toEqual([`it has ${count} shared experts, of which one is described`]);
  expect(leftOut).toEqual([]);
});

/** Rows sorted by expert, cut at the places they had when the file was traced. */
const frozen: Part = (b, x) => {
  const tokens = flat(b, x);
  const [weights, indices] = choose(b, logits(b, tokens), 1);
  const chosen = b.op('Reshape', [indices, b.ints([-1])]);
  const [, order] = b.ops(2, 'TopK', [chosen, b.op('Shape', [chosen])], { largest: 0 });
  const sorted = b.op('Gather', [tokens, order]);
  const outputs = Array.from({ length: experts }, (_, e) =>
    expert(b, b.op('Slice', [sorted, b.ints([6 * e]), b.ints([6 * e + 6]), b.ints([0])]), e),
  );
  const weighted = b.op('Mul', [b.op('Concat', outputs, { axis: 0 }), b.op('Gather', [weights, order])]);
  const zeros = b.op('ConstantOfShape', [b.op('Shape', [tokens])]);
  return b.op('ScatterND', [zeros, b.op('Unsqueeze', [order, b.ints([-1])]), weighted]);
};

it('a file that is wrong for all inputs but the traced one is refused and warned of', () => {
  const [layer] = locate(block(frozen)).layers;
  expect(layer).toMatchObject({ quantizable: false, reason: frozenTokens, warnings: [frozenTokens] });
});

it('a graph that reads what nothing defines is refused before the work', () => {
  const model = block((b, x) => maskedExperts(b, x, choose(b, logits(b, x))));
  const [product] = model.graph.nodes.filter(({ opType }) => opType === 'MatMul');
  const missing = new Value('missing');
  product.setInput(0, missing);
  model.graph.undefinedValues.push(missing);
  expect(faultOf(() => prepareModel(model))).toMatchObject({
    code: 'ONNX_UNDEFINED',
    what: `${product.name} reads missing, which nothing defines`,
  });
});

describe('a layer is found and refused, and it is said why', () => {
  it.each(Object.entries(refusals))('%s', (_name, [part, reason]) => {
    const { layers } = locate(block(part));
    expect(layers).toHaveLength(1);
    expect(layers[0].quantizable).toBe(false);
    expect(layers[0].reason).toContain(reason);
  });

  it('beside others that could be written anew', () => {
    const model = makeModel({ x: ['float32', ['batch', 'sequence', hidden]] }, (b, stream) => ({
      y: maskedLayer(b, maskedLayer(b, stream), oneUngated),
    }));
    expect(locate(model).layers).toMatchObject([
      { quantizable: true },
      { quantizable: false, experts: [], reason: 'its branches have unequal shapes' },
    ]);
    expect(() => prepareModel(model)).toThrow(/L1 cannot be quantized/);
  });
});
