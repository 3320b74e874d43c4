import { describe, expect, it } from 'vitest';
import { activate } from '../../src/moe/activation.ts';

describe('activate', () => {
  it('cuts gate from above and up on both sides', () => {
    const activation = { name: 'identity', alpha: 1, limit: 2, upOffset: 1 } as const;
    expect(activate(activation, 5, -9)).toBe(2 * (-2 + 1));
    expect(activate(activation, -5, 9)).toBe(-5 * (2 + 1));
  });

  it('cuts what SiLU gives, not what it is given, where it is capped', () => {
    const activation = { name: 'capped-silu', alpha: 1, limit: 2, upOffset: 0 } as const;
    expect(activate(activation, 2, -9)).toBeCloseTo((2 / (1 + Math.exp(-2))) * -2, 12);
    expect([activate(activation, 5, 1), activate(activation, 5, 9)]).toEqual([2, 4]);
  });

  it('cuts up from above where there is no gate', () => {
    const activation = { name: 'identity', alpha: 1, limit: 2, upOffset: 0 } as const;
    expect([-9, 1, 9].map((up) => activate(activation, null, up))).toEqual([-9, 1, 2]);
  });
});
