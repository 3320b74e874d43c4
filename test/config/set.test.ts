import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { emptyDocument, parseConfigDocument } from '../../src/config/config-document.ts';
import { applyOverrides, parseSet } from '../../src/config/set.ts';
import { faultOf } from '../helpers/fault-of.ts';

const set = (...assignments: string[]) =>
  applyOverrides(
    emptyDocument,
    assignments.map((text) => parseSet(text)),
  );

/** The value at a path, through own keys only. */
const at = (value: unknown, path: string[]): unknown =>
  path.reduce<unknown>(
    (inner, name) => Object.entries(inner ?? {}).find(([own]) => own === name)?.[1],
    value,
  );

describe('parseSet', () => {
  test.each([
    ['group=32', 32],
    ['group=channel', 'channel'],
    ['a=0.5', 0.5],
    ['a=-1e-3', -0.001],
    ['a=true', true],
    ['a=null', null],
    ['a=', null],
    ['a="32"', '32'],
    ["a='x # y'", 'x # y'],
    ['a=out #1', 'out #1'],
    ['a=C:\\data: x', 'C:\\data: x'],
    ['a=b=c', 'b=c'],
    ['a=*.onnx', '*.onnx'],
    ['a=[1, two]', [1, 'two']],
    ['a={ b: 1 }', { b: 1 }],
  ])('%s', (assignment, value) => {
    expect(parseSet(assignment)).toMatchObject({ flag: `--set ${assignment}`, value });
  });

  test.each([
    ['group', 'a flag of this kind is key=value'],
    ['=1', 'a flag of this kind is key=value'],
    ['a..b=1', 'a flag of this kind is key=value'],
    ['a=[1', 'the value is no valid YAML'],
  ])('refuses %s', (assignment, what) => {
    expect(faultOf(() => parseSet(assignment, '--min'))).toMatchObject({
      code: 'CONFIG_SET',
      what,
      where: `--min ${assignment}`,
    });
  });

  test('gives back any scalar that YAML writes on one line', () => {
    const scalar = fc.oneof(
      fc.integer(),
      fc.double({ noNaN: true }).map((value) => value + 0),
      fc.boolean(),
      fc.constant(null),
      fc.string(),
    );
    fc.assert(
      fc.property(scalar, (value) => {
        const text = stringify(value, { lineWidth: 0, defaultStringType: 'QUOTE_DOUBLE' }).trimEnd();
        expect(parseSet(`a.b=${text}`).value).toBe(value);
      }),
    );
  });
});

describe('applyOverrides', () => {
  const key = fc.stringMatching(/^[a-z_]{1,8}$/);
  test('puts any value at any path and leaves the rest', () => {
    fc.assert(
      fc.property(fc.array(key, { minLength: 1, maxLength: 4 }), fc.integer(), key, (path, value, other) => {
        fc.pre(other !== path[0]);
        const result = set(`${other}=kept`, `${path.join('.')}=${value}`).value;
        expect(at(result, path)).toBe(value);
        expect(at(result, [other])).toBe('kept');
      }),
    );
  });

  test('applying twice is applying once', () => {
    fc.assert(
      fc.property(fc.array(key, { minLength: 1, maxLength: 4 }), fc.integer(), (path, value) => {
        const assignment = `${path.join('.')}=${value}`;
        expect(set(assignment, assignment).value).toEqual(set(assignment).value);
      }),
    );
  });

  test('the last flag wins, and names the place', () => {
    const document = applyOverrides(parseConfigDocument('seed: 1\ngroup: 8\n', 'c.yaml'), [
      parseSet('seed=2'),
      parseSet('seed=3'),
    ]);
    expect(document.value).toEqual({ seed: 3, group: 8 });
    expect(document.whereOf(['seed'])).toBe('--set seed=3');
    expect(document.whereOf(['group'])).toBe('c.yaml:2:1');
  });

  test('changes and appends items of a list, and never the document it is given', () => {
    const document = parseConfigDocument('models: [{ path: a }, b]\n', 'c.yaml');
    const changed = applyOverrides(document, [parseSet('models.0.path=c'), parseSet('models.2=d')]);
    expect(changed.value).toEqual({ models: [{ path: 'c' }, 'b', 'd'] });
    expect(document.value).toEqual({ models: [{ path: 'a' }, 'b'] });
  });

  test.each([
    ['recipes.mine.group=32', 'recipes.mine is "mine.yaml", which has no keys'],
    ['models.1.data=d', 'models.1 is "b", which has no keys'],
  ])('%s would lose what stands there', (assignment, what) => {
    const document = parseConfigDocument(
      'recipes: { mine: mine.yaml }\nmodels: [{ path: a }, b]\n',
      'c.yaml',
    );
    const fault = faultOf(() => applyOverrides(document, [parseSet(assignment)]));
    expect(fault).toMatchObject({ code: 'CONFIG_SET', what, where: `--set ${assignment}` });
  });

  test('a key named like a prototype is only a key', () => {
    const { value } = set('__proto__.polluted=yes');
    expect(Object.keys(value as object)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});
