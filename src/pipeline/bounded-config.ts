import type { QuantizeConfig } from '../config/schema.ts';
import type { Model } from '../onnx/model.ts';
import { weightBytesOf } from '../onnx/model.ts';
import { hasCoarseActivations, movesRouters, schemeOf } from '../quantize/scheme.ts';
import { formatBytes } from '../report/format.ts';
import { isByLayer } from './model-size.ts';
import { needsRecords } from './needs-records.ts';

export interface BoundedConfig {
  config: QuantizeConfig;
  /** What was left undone, and why; for the report. */
  notes: string[];
}

/**
 * A config whose open choices can be made in the memory at hand. `rotation.down` and `router.realign` are settled by
 * running whole models on records, which a model that is calibrated layer by layer is too large for: `auto` then means
 * to do neither. What the config asks for by name stays.
 */
export function boundedConfig(model: Model, config: QuantizeConfig): BoundedConfig {
  if (!isByLayer(model, config)) return { config, notes: [] };
  const { rotation, router } = config;
  const down = rotation.down === 'auto' ? 'none' : rotation.down;
  const realign = router.realign === 'auto' ? false : router.realign;
  const scheme = schemeOf(config.scheme);
  const open = [
    ...(rotation.down === 'auto' && hasCoarseActivations(scheme) ? ['rotation.down'] : []),
    ...(router.realign === 'auto' && movesRouters(scheme) ? ['router.realign'] : []),
  ];
  const note = `${open.join(' and ')}: auto did nothing, since choosing runs the whole model, and with ${formatBytes(weightBytesOf(model))} of weights this one is calibrated layer by layer; set calibration.byLayer=never where memory allows it`;
  return {
    config: { ...config, rotation: { ...rotation, down }, router: { ...router, realign } },
    notes: needsRecords(config) && open.length > 0 ? [note] : [],
  };
}
