import { describe, expect, test } from 'vitest';
import { executionOf } from '../../src/emit/execution-of.ts';
import type { Target } from '../../src/emit/resolve-target.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import type { SchemeName } from '../../src/quantize/scheme.ts';
import { schemeNames } from '../../src/quantize/scheme.ts';
import { faultOf } from '../helpers/fault-of.ts';

const expressible: Record<Target, readonly SchemeName[]> = {
  int: ['w4a4', 'w3a4', 'w3a3', 'w2a4', 'w4a8', 'w8a8', 'ternary-a8', 'ternary-a4'],
  qdq: schemeNames,
  nbits: schemeNames,
  qmoe: ['w4a16', 'ternary'],
  packed: ['ternary', 'ternary-a8', 'ternary-a4'],
};

describe.each(Object.entries(expressible) as [Target, readonly SchemeName[]][])(
  'target %s',
  (target, schemes) => {
    test('takes the schemes it can express', () => {
      for (const scheme of schemes) expect(resolveTarget({ scheme, target }).target).toBe(target);
    });

    test('refuses the others, naming what can be written', () => {
      for (const scheme of schemeNames.filter((name) => !schemes.includes(name))) {
        const fault = faultOf(() => resolveTarget({ scheme, target }));
        expect(fault.code).toBe('SCHEME_TARGET');
        expect(fault.remedy).toContain(`target ${target} takes ${schemes.join(', ')}`);
        expect(fault.remedy).toMatch(new RegExp(`^write ${scheme} as .*qdq`));
      }
    });
  },
);

test('auto executes integers where activations are quantized, else blocks of packed weights', () => {
  const chosen = schemeNames.map((scheme) => [scheme, resolveTarget({ scheme }).target]);
  expect(Object.fromEntries(chosen)).toEqual({
    w4a4: 'int',
    w3a4: 'int',
    w3a3: 'int',
    w2a4: 'int',
    w4a8: 'int',
    w4a16: 'nbits',
    w8a8: 'int',
    ternary: 'nbits',
    'ternary-a8': 'int',
    'ternary-a4': 'int',
  });
});

test.each([
  ['int', 'auto', [1024, 100], [1024, 100]],
  ['int', 32, [1024, 100, 37, 16], [32, 25, 37, 16]],
  ['nbits', 'auto', [1024, 192, 96, 100, 8], [128, 64, 96, 100, 8]],
  ['qdq', 'auto', [1024, 48], [128, 48]],
  ['qdq', 24, [48, 16], [24, 16]],
  ['nbits', 'channel', [1024], [1024]],
  ['qmoe', 64, [256], [64]],
] as const)('%s with group %s groups rows of %j by %j', (target, group, cols, sizes) => {
  const { groupsOf } = resolveTarget({ scheme: target === 'int' ? 'w4a4' : 'w4a16', target, group });
  expect(cols.map((each) => groupsOf(each).groupSize)).toEqual(sizes);
});

test.each([
  ['int', 'w8a8', 32],
  ['nbits', 'w4a16', 24],
  ['packed', 'ternary', 8],
  ['qmoe', 'w4a16', 48],
] as const)('%s %s refuses group %i', (target, scheme, group) => {
  expect(faultOf(() => resolveTarget({ scheme, target, group })).code).toBe('GROUP_TARGET');
});

test.each([
  [32, ['nbits', 'qdq']],
  [24, ['qdq']],
] as const)('who asks for group %i of 8-bit integers is told the targets that have it: %j', (group, able) => {
  const { remedy } = faultOf(() => resolveTarget({ scheme: 'w8a8', group }));
  expect(remedy).toBe(`use group channel, or target ${able.join(' or ')}`);
  for (const target of able)
    expect(resolveTarget({ scheme: 'w8a8', target, group }).groupsOf(1024).groupSize).toBe(group);
});

test('2-bit weights need opset 25 only where they are stored as INT2', () => {
  expect(resolveTarget({ scheme: 'ternary-a8', target: 'int' }).opset).toBe(25);
  expect(resolveTarget({ scheme: 'w2a4', target: 'qdq' }).opset).toBe(25);
  expect(resolveTarget({ scheme: 'ternary', target: 'nbits' }).opset).toBe(21);
  expect(resolveTarget({ scheme: 'w4a4', target: 'int' }).opset).toBe(21);
});

function blockOf(width: number, block: number | 'auto' | 'token' = 'auto'): number {
  return resolveTarget({ scheme: 'w4a4', activations: { block } }).gridOf(width)!.block;
}

test('activations of less than 8 bits share a grid in blocks that divide the width', () => {
  expect([192, 100, 37, 8].map((width) => blockOf(width))).toEqual([16, 10, 37, 8]);
  expect([blockOf(192, 'token'), blockOf(192, 64), blockOf(192, 500)]).toEqual([192, 64, 192]);
  expect(resolveTarget({ scheme: 'w8a8' }).gridOf(192)).toEqual({ bits: 8, width: 192, block: 192 });
  expect(resolveTarget({ scheme: 'w4a16' }).gridOf(192)).toBeNull();
  for (const scheme of ['w4a8', 'ternary'] as const) {
    const fault = faultOf(() => resolveTarget({ scheme, activations: { block: 16 } }));
    expect(fault).toMatchObject({ code: 'SCHEME_TARGET', remedy: 'leave the key out' });
  }
});

test('only integer arithmetic is called executed', () => {
  expect(executionOf(resolveTarget({ scheme: 'w4a4', target: 'int' })).executed).toBe(true);
  expect(executionOf(resolveTarget({ scheme: 'w4a4', target: 'qdq' })).executed).toBe(false);
  expect(executionOf(resolveTarget({ scheme: 'w4a4', target: 'qdq' })).activations).toMatch(
    /^float32 values of 4-bit codes, one grid per up to 16 channels \(emulated\)$/,
  );
  expect(executionOf(resolveTarget({ scheme: 'w4a4', target: 'int' })).activations).toBe(
    '4-bit codes, one grid per up to 16 channels; held as uint8, in steps of the token',
  );
  expect(executionOf(resolveTarget({ scheme: 'w4a16', target: 'nbits' })).activations).toMatch(
    /rounded to 8 bits per block/,
  );
  expect(executionOf(resolveTarget({ scheme: 'ternary-a8', target: 'int' })).weights).toMatch(
    /int2, ternary codes/,
  );
});
