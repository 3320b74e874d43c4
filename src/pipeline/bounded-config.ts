import type { QuantizeConfig } from '../config/schema.ts';
import type { Model } from '../onnx/model.ts';
import { weightBytesOf } from '../onnx/model.ts';
import { hasCoarseActivations, movesRouters, schemeOf } from '../quantize/scheme.ts';
import { formatBytes } from '../report/format.ts';
import { isByLayer } from './model-size.ts';
import { needsRecords } from './needs-records.ts';
import { needsHessian } from './rounding.ts';

export interface BoundedConfig {
  config: QuantizeConfig;
  /** What was left undone, and why; for the report. */
  notes: string[];
}

/**
 * A config whose open choices can be made in the memory at hand. `rotation.down`, `calibration.affinity` and `router.realign` are settled by
 * running whole models on records, which a model that is calibrated layer by layer is too large for: `auto` then means
 * to do none of them. `activations.clip` is settled where layers are calibrated. What the config asks for by name stays.
 * Nothing is left undone where there are no records to settle it by.
 */
export function boundedConfig(model: Model, config: QuantizeConfig, hasRecords: boolean): BoundedConfig {
  if (!isByLayer(model, config)) return { config, notes: [] };
  const { calibration, rotation, router, activations } = config;
  const down = rotation.down === 'auto' ? 'none' : rotation.down;
  const affinity = calibration.affinity === true;
  const realign = router.realign === 'auto' ? false : router.realign;
  const looksAtNone = activations.clip === 'auto' && !needsRecords(config);
  const clip = looksAtNone ? 1 : activations.clip;
  const scheme = schemeOf(config.scheme);
  const open = [
    ...(rotation.down === 'auto' && hasCoarseActivations(scheme) ? ['rotation.down'] : []),
    ...(calibration.affinity === 'auto' && hasCoarseActivations(scheme) && needsHessian(config)
      ? ['calibration.affinity']
      : []),
    ...(router.realign === 'auto' && movesRouters(scheme) && needsRecords(config) ? ['router.realign'] : []),
    ...(looksAtNone && hasCoarseActivations(scheme) ? ['activations.clip'] : []),
  ];
  const note = `${open.join(', ')}: auto did nothing, since that takes runs of the whole model, and with ${formatBytes(weightBytesOf(model))} of weights this one is calibrated layer by layer; set calibration.byLayer=never where memory allows it`;
  return {
    config: {
      ...config,
      calibration: { ...calibration, affinity },
      rotation: { ...rotation, down },
      router: { ...router, realign },
      activations: { clip },
    },
    notes: hasRecords && open.length > 0 ? [note] : [],
  };
}
