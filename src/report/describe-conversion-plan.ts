import { formatBytes, formatCount } from './format.ts';
import type { Column, Paint } from './terminal-table.ts';
import { plainPaint, terminalTable } from './terminal-table.ts';

/** What a conversion would do. */
export interface PlannedConversion {
  model: string;
  output: string;
  scheme: string;
  target: string;
  needsRecords: boolean;
  layers: readonly { id: string; form: string; experts: number; weights: number; estimatedBytes: number }[];
}

/** A plan for the terminal: what would become of the model, then its layers. */
export function describeConversionPlan(plan: PlannedConversion, paint: Paint = plainPaint): string {
  const { model, output, scheme, target, needsRecords, layers } = plan;
  const right = { align: 'right' } as const;
  const columns: Column[] = [
    { title: 'layer' },
    { title: 'form' },
    { title: 'experts', ...right },
    { title: 'weights', ...right },
    { title: 'quantized', ...right },
  ];
  const rows = layers.map(({ id, form, experts, weights, estimatedBytes }) => [
    id,
    form,
    formatCount(experts),
    formatCount(weights),
    formatBytes(estimatedBytes),
  ]);
  return [
    `${model} would become ${output}: ${scheme} in the ${target} form, ${needsRecords ? 'calibrated on records' : 'data-free'}`,
    ...terminalTable(columns, rows, paint),
    'quantized: codes and scales of the routed experts, estimated',
  ].join('\n');
}
