import { describe, expect, test } from 'vitest';
import { errorsOf, within } from './errors-of.ts';

describe('experts whose input is shifted equal the reference on shifted tokens', () => {
  test.each([
    { target: 'int', scheme: 'w4a4' },
    { target: 'int', scheme: 'w8a8' },
    { target: 'qdq', scheme: 'w4a4' },
    { target: 'qdq', scheme: 'w4a16' },
    { target: 'nbits', scheme: 'w4a16' },
  ] as const)('$scheme $target', (trial) =>
    expect(errorsOf({ ...trial, isShifted: true })).resolves.toSatisfy(within(1e-5)),
  );

  test.each([{ appliesTo: 'input' }, { routing: 'dense-first' }, { bias: true }] as const)(
    'with %o',
    (spec) => expect(errorsOf({ spec, isShifted: true, tokens: 40 })).resolves.toSatisfy(within(1e-5)),
  );

  test.each(['disabled', 'basic'] as const)('at optimization level %s', (optimization) =>
    expect(errorsOf({ optimization, isShifted: true })).resolves.toSatisfy(within(1e-5)),
  );

  test('without tokens', () =>
    expect(errorsOf({ tokens: 0, isShifted: true })).resolves.toSatisfy(within(1e-5)));
});
