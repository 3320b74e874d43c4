/** Widths of a quantization scheme (see the table of schemes in the README). */
export interface Scheme {
  name: SchemeName;
  weight: { bits: 2 | 3 | 4 | 8; ternary: boolean };
  /** Bits of dynamically quantized activations, per token; null leaves them in float. */
  activationBits: 3 | 4 | 8 | null;
}

export const schemeNames = [
  'w4a4',
  'w3a4',
  'w3a3',
  'w2a4',
  'w4a8',
  'w4a16',
  'w8a8',
  'ternary',
  'ternary-a8',
  'ternary-a4',
] as const;

export type SchemeName = (typeof schemeNames)[number];

/** The widths behind a scheme name. */
export function schemeOf(name: SchemeName): Scheme {
  const [, weight, activation] = /^(?:w(\d)|ternary-?)a?(\d*)$/.exec(name) ?? [];
  return {
    name,
    weight:
      weight === undefined
        ? { bits: 2, ternary: true }
        : { bits: Number(weight) as 2 | 3 | 4 | 8, ternary: false },
    activationBits: !activation || activation === '16' ? null : (Number(activation) as 3 | 4 | 8),
  };
}

/** Activations of fewer than 8 bits: what is done for their sake pays. */
export function hasCoarseActivations({ activationBits }: Scheme): boolean {
  return activationBits !== null && activationBits < 8;
}

/** Experts whose results differ so much from the reference that routers behind them choose otherwise. */
export function movesRouters(scheme: Scheme): boolean {
  return hasCoarseActivations(scheme) || scheme.weight.ternary;
}
