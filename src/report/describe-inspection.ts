import { storedBits } from '../quantize/grid.ts';
import { schemeNames, schemeOf } from '../quantize/scheme.ts';
import { formatBytes, formatCount } from './format.ts';
import type { Inspection, LayerInspection } from './inspection.ts';
import {
  type Column,
  type Paint,
  figureColumns,
  numeric,
  plainPaint,
  terminalTable,
} from './terminal-table.ts';
import { hangingText } from './wrap-text.ts';

const layerColumns: Column[] = [
  { title: 'layer' },
  { title: 'form' },
  { title: 'router' },
  ...numeric('experts', 'top-k', 'hidden', 'width', 'shared'),
  { title: 'norm' },
  { title: 'status', tone: (text) => (text === 'ok' ? 'good' : 'bad') },
];

/** What a model holds, for the terminal, in at most 100 columns. */
export function describeInspection(inspection: Inspection, paint: Paint = plainPaint): string {
  const { layers, rejected, notes } = inspection;
  const lines = [...headLines(inspection)];
  if (notes.length > 0) lines.push('', ...notes);
  if (layers.length > 0)
    lines.push('', ...terminalTable(layerColumns, layers.map(layerRow), paint), ...remarks(layers));
  lines.push('', ...sizeLines(inspection, paint));
  if (layers.some(({ experts }) => experts.count > 0)) lines.push('', ...schemeLines(layers, paint));
  if (rejected.length > 0)
    lines.push('', 'Not accepted:', ...rejected.map(({ node, reason }) => `  ${node}: ${reason}`));
  return lines.join('\n');
}

function headLines({ model }: Inspection): string[] {
  const { path, parameters, bytes, opset, irVersion, producer, inputs } = model;
  const fed = inputs.map(({ name, dtype, shape }) => `${name} ${dtype} [${shape.map(dimText).join(', ')}]`);
  return [
    path,
    `${formatCount(parameters)} parameters, ${formatBytes(bytes)}, opset ${opset}, IR ${irVersion}${producer && `, ${producer}`}`,
    ...hangingText('inputs ', fed.join(', '), 100),
  ];
}

/** A dimension of which nothing is known is written as ONNX tools do. */
function dimText(dim: number | string | null): string {
  return dim === null ? '?' : String(dim);
}

function layerRow({
  id,
  form,
  router,
  experts,
  shared,
  norm,
  quantizable,
  complete,
}: LayerInspection): string[] {
  const status = quantizable ? 'ok' : 'refused';
  // Experts that could not be put together have no sizes, and what is read of their router may be wrong.
  const known = (text: string | number): string => (experts.count > 0 ? String(text) : '?');
  return [
    id,
    form,
    router.scoring + (router.renormalized ? ', renormalized' : ''),
    known(experts.count === router.experts ? experts.count : `${experts.count} of ${router.experts}`),
    known(router.topK ?? 'all'),
    known(experts.hidden),
    known(experts.intermediate),
    String(shared?.intermediate ?? '–'),
    norm ? (norm.foldable ? 'foldable' : 'fixed') : '–',
    complete ? status : 'incomplete',
  ];
}

function remarks(layers: readonly LayerInspection[]): string[] {
  return layers.flatMap(({ id, quantizable, reason, warnings }) =>
    [...(quantizable ? [] : [reason]), ...warnings].map((text) => `${id}: ${text}`),
  );
}

function sizeLines({ sizes }: Inspection, paint: Paint): string[] {
  return terminalTable(
    figureColumns(['role', 'bytes']),
    sizes.map(({ role, bytes }) => [role, formatBytes(bytes)]),
    paint,
  );
}

/** Size of the routed experts under each scheme: codes, and a float16 scale per output channel. */
function schemeLines(layers: readonly LayerInspection[], paint: Paint): string[] {
  const weights = layers.reduce((sum, { experts }) => sum + experts.parameters, 0);
  const rows = layers.reduce((sum, layer) => sum + outputChannels(layer), 0);
  return terminalTable(
    figureColumns(['scheme', 'experts', 'bits/weight']),
    schemeNames.map((name) => {
      const bytes = (weights * storedBits(schemeOf(name).weight.bits)) / 8 + rows * 2;
      return [name, formatBytes(bytes), ((bytes * 8) / weights).toFixed(2)];
    }),
    paint,
  );
}

function outputChannels({ experts }: LayerInspection): number {
  return experts.count * (experts.hidden + experts.intermediate * (experts.gated ? 2 : 1));
}
