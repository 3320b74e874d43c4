import { formatBytes, formatCount } from './format.ts';
import type { Paint } from './terminal-table.ts';
import { numeric, plainPaint, terminalTable } from './terminal-table.ts';

/** What a conversion would do. */
export interface ConversionPlan {
  model: string;
  output: string;
  scheme: string;
  target: string;
  /** True for a recipe that is computed from activations. */
  needsRecords: boolean;
  /** True where it takes no records, and yet what it leaves open is settled by trials on those that are given. */
  triesRecords: boolean;
  layers: { id: string; form: string; experts: number; weights: number; estimatedBytes: number }[];
}

/** A plan for the terminal: what would become of the model, then its layers. */
export function describeConversionPlan(plan: ConversionPlan, paint: Paint = plainPaint): string {
  const { model, output, scheme, target, layers } = plan;
  const columns = [{ title: 'layer' }, { title: 'form' }, ...numeric('experts', 'weights', 'quantized')];
  const rows = layers.map(({ id, form, experts, weights, estimatedBytes }) => [
    id,
    form,
    formatCount(experts),
    formatCount(weights),
    formatBytes(estimatedBytes),
  ]);
  return [
    `${model} would become ${output}: ${scheme} in the ${target} form, ${useOfRecords(plan)}`,
    ...terminalTable(columns, rows, paint),
    'quantized: codes and scales of the routed experts, estimated',
  ].join('\n');
}

function useOfRecords({ needsRecords, triesRecords }: ConversionPlan): string {
  if (needsRecords) return 'calibrated on records';
  return triesRecords ? 'settled by trials on records' : 'data-free';
}
