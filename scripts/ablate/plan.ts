import { join } from 'node:path';
import { loadConfig } from '../../src/config/load-config.ts';
import type { QuantizeConfig } from '../../src/config/schema.ts';
import { parseSet } from '../../src/config/set.ts';
import { Fault } from '../../src/fault.ts';

/** One line of a table. */
export interface Row {
  name: string;
  config: QuantizeConfig;
  /** Which records it is calibrated and measured on; see `openSubject`. */
  records: 'given' | 'skewed';
}

/** A table: what is quantized how, line by line. */
export interface Plan {
  scheme: string;
  title: string;
  rows: Row[];
}

/** Something the default does, and the settings that leave it out. */
interface Step {
  name: string;
  off: string[];
}

interface Scheme {
  title: string;
  /** A file of configs/ where the scheme's best is not that of a bare `--scheme`. */
  recipe?: string;
  settings: string[];
  /** What is left of the default without any of its steps. */
  base: string;
  /** In the order in which they are added to the base; with the last one it is the default. */
  steps: Step[];
  /** The default with other settings. */
  variants: Record<string, string[]>;
}

const smoothing: Step = { name: 'smoothing', off: ['smoothing.enabled=false'] };
const blocks: Step = {
  name: 'activations in blocks of 16',
  off: ['activations.block=token', 'smoothing.shift=false'],
};
const gptq: Step = { name: 'GPTQ', off: ['rounding.method=rtn'] };
const refinement: Step = { name: 'refinement', off: ['rounding.sweeps=0'] };
const rotation: Step = { name: 'rotation before down where it pays', off: ['rotation.down=none'] };
const weighing: Step = { name: 'affinity where it pays', off: ['calibration.affinity=false'] };
const realignment: Step = { name: 'realignment', off: ['router.realign=false'] };
const hessianFit: Step = { name: 'fit under the Hessian', off: ['ternary.fit=exact'] };
const ternaryGptq: Step = { name: 'GPTQ on the ternary grid', off: ['ternary.compensate=false'] };

const affinity = 'calibration.affinity=true';

/** Realignment takes longer than all else together, so most variants do without. */
const schemes: Record<string, Scheme> = {
  w4a4: {
    title: 'W4A4: 4-bit weights and activations',
    settings: ['scheme=w4a4'],
    base: 'round to nearest',
    steps: [smoothing, gptq, refinement, blocks, rotation, weighing, realignment],
    variants: {
      'not realigned, without smoothing': [...realignment.off, ...smoothing.off],
      'not realigned, without GPTQ': [...realignment.off, ...gptq.off],
      'not realigned, routers in 8 bits': [...realignment.off, 'router.bits=8'],
      'not realigned, affinity': [...realignment.off, affinity],
      'not realigned, calibrated in sequence': [...realignment.off, 'calibration.sequential=true'],
      'not realigned, both inputs rotated': [
        ...realignment.off,
        'rotation.input=hadamard',
        'rotation.down=hadamard',
      ],
      'not realigned, shifted by expert': [...realignment.off, 'smoothing.shift=true'],
      'not realigned, blocks of 32': [...realignment.off, 'activations.block=32'],
      'not realigned, one grid per token, shifted by expert': [...realignment.off, 'activations.block=token'],
    },
  },
  w3a4: {
    title: 'W3A4: 3-bit weights, 4-bit activations',
    settings: ['scheme=w3a4'],
    base: 'round to nearest',
    steps: [smoothing, gptq, refinement, blocks, rotation, weighing, realignment],
    variants: { 'not realigned, affinity': [...realignment.off, affinity] },
  },
  w4a16: {
    title: 'W4A16: 4-bit weights, activations in float',
    settings: ['scheme=w4a16'],
    base: 'round to nearest',
    steps: [smoothing, gptq, refinement, weighing],
    variants: {},
  },
  ternary: {
    title: 'Ternary weights in groups of 32, activations in float',
    recipe: 'ternary.yaml',
    settings: ['group=32'],
    base: 'exact fit of the weights',
    steps: [hessianFit, ternaryGptq, refinement, realignment, weighing, smoothing],
    variants: {},
  },
  'ternary-a8': {
    title: 'Ternary weights per channel, 8-bit activations',
    settings: ['scheme=ternary-a8'],
    base: 'smoothing, exact fit of the weights',
    steps: [hessianFit, ternaryGptq, refinement, weighing, realignment],
    variants: {},
  },
};

const withoutBalance = ['calibration.balance.enabled=false'];

/** Records that the skewed calibration starts with. */
const fewRecords = 64;

/**
 * The table of a scheme: the default built up step by step, then varied. All records are calibrated on, so balancing
 * has nothing to add here; see {@link balancePlan}.
 * @throws Fault ABLATION_SCHEME
 */
export function planOf(name: string): Plan {
  const { title, base, steps, variants } = schemeOf(name);
  const row = rowsOf(name);
  const built = [base, ...steps.map((step) => `+ ${step.name}`)].map((label, i) =>
    row(
      i === steps.length ? `${label} = default` : label,
      steps.slice(i).flatMap(({ off }) => off),
    ),
  );
  const varied = Object.entries(variants).map(([label, settings]) => row(label, settings));
  return { scheme: name, title, rows: [...built, ...varied, ...(name === 'w4a4' ? [published()] : [])] };
}

/** The default of a scheme with settings that someone wants to try, each as `key=value key=value`. */
export function trialPlan(name: string, trials: readonly string[]): Plan {
  const row = rowsOf(name);
  return { scheme: name, title: 'Trials', rows: trials.map((text) => row(text, text.split(' '))) };
}

function rowsOf(name: string): (label: string, settings: string[]) => Row {
  const scheme = schemeOf(name);
  return (label, settings) => ({
    name: label,
    config: configOf(scheme, [...withoutBalance, ...settings]),
    records: 'given',
  });
}

function schemeOf(name: string): Scheme {
  const scheme = schemes[name];
  if (scheme) return scheme;
  throw new Fault({
    code: 'ABLATION_SCHEME',
    what: `there are no steps for scheme ${name}`,
    remedy: `give some of ${Object.keys(schemes).join(', ')}`,
  });
}

/** What balancing adds where the first records are of few tasks. Neither rotated, weighed nor realigned, to be quick. */
export function balancePlan(): Plan {
  const quick = [...rotation.off, ...weighing.off, ...realignment.off];
  const first = `calibration.records=${fewRecords}`;
  const variants = {
    [`the first ${fewRecords} records`]: [first, ...withoutBalance],
    'the same, balanced from the others': [first],
    'all records': withoutBalance,
  };
  const rows = Object.entries(variants).map(([name, settings]): Row => ({
    name,
    config: configOf(schemes.w4a4, [...quick, ...settings]),
    records: 'skewed',
  }));
  return { scheme: 'balance', title: 'Balance: W4A4, calibrated on records of few tasks', rows };
}

function published(): Row {
  const config = configOf({ recipe: 'eaquant.yaml', settings: [] }, withoutBalance);
  return { name: 'EAQuant as published', config, records: 'given' };
}

function configOf({ recipe, settings }: Pick<Scheme, 'recipe' | 'settings'>, more: string[]): QuantizeConfig {
  const file = recipe ? join(import.meta.dirname, '../../configs', recipe) : null;
  return loadConfig(
    file,
    [...settings, ...more].map((text) => parseSet(text)),
  );
}
