import type { QuantizeConfig } from '../config/schema.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { annotate } from './annotate.ts';
import type { CalibrationData } from './balance-data.ts';
import { boundedConfig } from './bounded-config.ts';
import { openCalibrator } from './calibrator.ts';
import type { Progress } from './progress.ts';
import { refuseShift } from './refuse-shift.ts';
import { rotationName, settleRotation } from './settle-rotation.ts';
import type { SettledConfig } from './settle-rotation.ts';
import { settleRouters } from './settle-routers.ts';
import type { RouterOutcome } from './settle-routers.ts';
import type { Workshop } from './workshop.ts';
import { plainWorkshop } from './workshop.ts';
import type { WrittenModel } from './write-experts.ts';
import { writeExperts } from './write-experts.ts';

/** A quantized model in memory. */
export interface QuantizedModel extends WrittenModel {
  /** What became of the routers. */
  routers: RouterOutcome;
  /** What the config asks for and the model is too large for. */
  notes: string[];
}

/**
 * Quantizes the experts of a model: calibrate, settle what the config leaves open, smooth, round, write anew. The
 * result is ready to be saved.
 * @throws Fault SCHEME_TARGET or GROUP_TARGET for what cannot be written, and those of the steps
 */
export async function quantizeModel(
  path: string,
  data: CalibrationData | null,
  given: QuantizeConfig,
  progress: Progress = () => {},
  workshop: Workshop = plainWorkshop,
): Promise<QuantizedModel> {
  refuseShift(given);
  const { config, notes } = boundedConfig(prepareModel(path).model, given);
  const resolved = resolveTarget(config.target, config.scheme, config.group);
  const calibrator = await openCalibrator(path, data, config, progress, workshop);
  // What was written to be tried need not be written again.
  const tried = new Map<string, WrittenModel>();
  const write = async (rotation: SettledConfig['rotation']): Promise<WrittenModel> => {
    const order = { path, config: { ...config, rotation }, resolved, calibrator };
    const name = rotationName(rotation);
    const model = tried.get(name) ?? (await writeExperts(order, progress, workshop));
    tried.set(name, model);
    return model;
  };
  const rotation = await workshop.remember('rotation', () =>
    settleRotation(path, data?.records ?? null, config, (candidate) => {
      progress({ stage: 'try', detail: `rotation before down: ${rotationName(candidate)}` });
      return write(candidate);
    }),
  );
  const written = await write(rotation);
  const records = (data?.records ?? []).slice(0, config.calibration.records ?? undefined);
  const routers = await settleRouters(path, written, records, config, { progress, workshop });
  const layers = written.probes.map(({ layer }) => layer);
  annotate({ model: written.model, layers }, { ...config, rotation }, resolved, written);
  return { ...written, routers, notes };
}
