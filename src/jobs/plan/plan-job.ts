import type { BatchJob } from '../../config/batch-jobs.ts';
import type { QuantizeConfig } from '../../config/schema.ts';
import { resolveTarget } from '../../emit/resolve-target.ts';
import { ffnExperts, linearsOf } from '../../moe/ffn-experts.ts';
import type { Expert } from '../../moe/moe-layer.ts';
import { prepareModel } from '../../moe/prepare-model.ts';
import { storedBytesOf } from '../../onnx/model.ts';
import { openModel } from '../../onnx/open-model.ts';
import type { Variant } from '../../pipeline/layer/variant.ts';
import { layerStep } from '../../pipeline/layer/variant.ts';
import { resultBytes } from '../../pipeline/model-size.ts';
import { needsRecords } from '../../pipeline/needs-records.ts';
import type { RecordReader } from '../../pipeline/open-conversion.ts';
import { openRecordsOf } from '../../pipeline/open-conversion.ts';
import { requireConvertible } from '../../pipeline/require-convertible.ts';
import { boundedConfig } from '../../pipeline/trials/bounded-config.ts';
import { variantsTried } from '../../pipeline/trials/variants-tried.ts';
import { estimateEmit, estimateQuantize } from './estimate.ts';
import { expertBytes, storedBytes, sum } from './model-sizes.ts';
import type { Ingredients } from './plan-item.ts';
import { ingredientsOf, item } from './plan-item.ts';
import type { JobPlan, WorkItem } from './plan.ts';
import { quantizeItemId } from './plan.ts';
import type { RunFacts } from './run-items.ts';
import { balanceItem, layerRunItem, variantsItem, routerItems, runFacts, verifyItems } from './run-items.ts';

/**
 * The work of one conversion, from the records and the model's graph and headers; no weight is read, and nothing is
 * written.
 * @throws Fault those of `openRecordsOf`, `openModel`, `prepareModel` and `requireConvertible`
 */
export async function planJob(job: BatchJob, output: string, read?: RecordReader): Promise<JobPlan> {
  const { name, config } = job;
  const target = resolveTarget(config);
  const isMeasured = (config.verify.data ?? config.data) !== null;
  const records = openRecordsOf(job.model, config, isMeasured, read);
  const opened = openModel(job.model);
  const before = storedBytesOf(opened);
  const prepared = prepareModel(opened, target.opset);
  requireConvertible(config, prepared, records);
  const layers = prepared.layers.map((layer) => resultBytes(layer, target));
  const after = before - expertBytes(prepared) + sum(layers);
  const ingredients = await ingredientsOf(job, prepared);
  const { config: bounded } = boundedConfig(prepared.model, config, config.data !== null);
  const variants = variantsTried(bounded, config.data !== null);
  const facts = runFacts(job, prepared, ingredients, { records, after });
  const { calibrate, quantize } = expertItems(facts, variants);
  const settled = variants.length > 1 ? [variantsItem(facts, quantize, variants.length)] : [];
  const routers = routerItems(facts, [...quantize, ...settled]);
  const emit = item({
    id: 'emit',
    needs: [...calibrate, ...quantize, ...settled, ...routers],
    inputs: [job.model],
    outputs: [`${name}.onnx`],
    parts: { target: config.target, output: config.output, records: ingredients.tuning },
    bytes: before - expertBytes(prepared),
    ...estimateEmit(after, Math.max(...layers), target.target === 'qmoe'),
  });
  const verify = verifyItems(facts, emit);
  const items = [...calibrate, ...quantize, ...settled, ...routers, emit, ...verify];
  return {
    name,
    job,
    key: items.at(-1)!.key,
    folder: output,
    hasReport: verify.length > 0,
    layers: prepared.layers.length,
    experts: quantize.length / variants.length,
    size: { before, after },
    memory: Math.max(...items.map(({ memory }) => memory)),
    seconds: sum(items.map(({ seconds }) => seconds)),
    items,
  };
}

/** Calibration and rounding of every layer, in each variant. */
function expertItems(
  facts: RunFacts,
  variants: readonly Variant[],
): { calibrate: WorkItem[]; quantize: WorkItem[] } {
  const { prepared, ingredients } = facts;
  const { config } = facts.job;
  const { sequential } = config.calibration;
  const chosen = needsRecords(config) ? [balanceItem(facts)] : [];
  const calibrate = new Map(chosen.map((first) => [first.id, first]));
  const quantize: WorkItem[] = [];
  for (const variant of variants) {
    let before: WorkItem[] = [];
    for (const layer of prepared.layers) {
      const id = layerStep(layer.id, variant, sequential);
      const needs = sequential ? [...chosen, ...before] : chosen;
      const stats = chosen.map(() => calibrate.get(id) ?? layerRunItem(id, facts, needs));
      for (const item of stats) calibrate.set(id, item);
      before = ffnExperts(layer).map((expert) =>
        quantizeItem({ layer: layer.id, expert, variant }, config, stats, ingredients),
      );
      quantize.push(...before);
    }
  }
  return { calibrate: [...calibrate.values()], quantize };
}

function quantizeItem(
  { layer, expert, variant }: { layer: string; expert: Expert; variant: Variant },
  config: QuantizeConfig,
  needs: WorkItem[],
  { tuning: _later, verification: _last, ...parts }: Ingredients,
): WorkItem {
  const linears = linearsOf(expert);
  return item({
    id: quantizeItemId(expert.id, variant),
    expert: { layer, id: expert.id, variant },
    needs,
    inputs: linears.map(({ name }) => name),
    outputs: [],
    parts,
    bytes: storedBytes(expert),
    ...estimateQuantize(expert, config),
  });
}
