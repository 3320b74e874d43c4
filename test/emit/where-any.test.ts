import { describe, expect, test } from 'vitest';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { emitterFor } from '../../src/emit/emitter-for.ts';
import type { ExpertEmitter, QuantizedExpert } from '../../src/emit/expert-emitter.ts';
import { floatExperts } from '../../src/emit/float-experts.ts';
import type { Target } from '../../src/emit/resolve-target.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import type { Expert, MoeLayer } from '../../src/moe/moe-layer.ts';
import type { SchemeName } from '../../src/quantize/scheme.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';
import { errorsOf, within } from './errors-of.ts';
import { quantizeByRtn } from './expert-twin.ts';

const forms = [
  ['int', 'w4a4'],
  ['int', 'w8a8'],
  ['int', 'ternary-a8'],
  ['qdq', 'w4a4'],
  ['nbits', 'w4a16'],
  ['packed', 'ternary'],
] as const satisfies [Target, SchemeName][];

/** Nodes around the products of experts, which are in graphs of their own. */
function nodesOutside(experts: number, emitter: (layer: MoeLayer) => ExpertEmitter): number {
  const { model, layer } = syntheticLayer({ experts });
  emitLayer(model, layer, emitter(layer));
  model.graph.removeDeadCode();
  return model.graph.nodes.length;
}

// ONNX Runtime plans a graph in a time that grows with the square of its values.
test.each([
  ...forms.map(
    ([target, scheme]) =>
      [`${target} ${scheme}`, (layer: MoeLayer) => quantizedIn(target, scheme, layer)] as const,
  ),
  ['float', floatExperts],
] as [string, (layer: MoeLayer) => ExpertEmitter][])(
  '%s: a layer of many experts is no larger a graph than one of few',
  (_name, emitter) => {
    expect(nodesOutside(40, emitter)).toBe(nodesOutside(16, emitter));
    expect(nodesOutside(40, emitter)).toBeLessThan(120);
  },
);

function quantizedIn(target: Target, scheme: SchemeName, layer: MoeLayer): ExpertEmitter {
  const resolved = resolveTarget({ scheme, target });
  const weightsOf = (expert: Expert): QuantizedExpert => quantizeByRtn(expert, resolved);
  return emitterFor(resolved, { layer, weightsOf, fewRowsAbove: 0 });
}

describe.each(forms)('%s %s with 16 experts', (target, scheme) => {
  test('declares what the branches of experts give, as the ONNX checker asks', () => {
    const { model, layer } = syntheticLayer({ experts: 16 });
    emitLayer(model, layer, quantizedIn(target, scheme, layer));
    const guards = model.graph.nodes.filter(({ opType }) => opType === 'If');
    expect(guards.length).toBeGreaterThan(0);
    for (const guard of guards) {
      const [[then], [otherwise]] = ['then_branch', 'else_branch'].map((name) => guard.subgraphs.get(name)!);
      expect(then.outputs.map(({ dtype }) => dtype)).toEqual(otherwise.outputs.map(({ dtype }) => dtype));
      expect(then.outputs.every(({ shape }) => shape?.length === 2)).toBe(true);
    }
  });

  const spec = { experts: 16, k: 4 };

  test.each(['disabled', 'basic', 'extended', 'all'] as const)(
    'equals the reference at level %s',
    (optimization) =>
      expect(errorsOf({ target, scheme, optimization, spec, tokens: 9 })).resolves.toSatisfy(within(1e-5)),
  );

  test('with one expert that all tokens come to', () =>
    expect(
      errorsOf({ target, scheme, spec: { experts: 16, routing: 'dense-last' }, routes: onlyTo(5) }),
    ).resolves.toSatisfy(within(1e-5)));

  test('with tokens that come to no expert', () =>
    expect(
      errorsOf({
        target,
        scheme,
        spec: { experts: 16, routing: 'dense-last' },
        routes: [new Map(), new Map()],
      }),
    ).resolves.toEqual({ linear: 0, activation: 0, sum: 0 }));

  test.each(['topk', 'dense-first'] as const)('without tokens, %s', (routing) =>
    expect(errorsOf({ target, scheme, spec: { experts: 16, routing }, routes: [] })).resolves.toEqual({
      linear: 0,
      activation: 0,
      sum: 0,
    }),
  );
});

function onlyTo(expert: number): Map<number, number>[] {
  return [0.5, 1, 0.25].map((weight) => new Map([[expert, weight]]));
}
