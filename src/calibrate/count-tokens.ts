import type { Batch } from '../data/batches.ts';
import { positionsOf } from '../data/positions.ts';
import { emitFloat } from '../emit/float-experts.ts';
import { Fault } from '../fault.ts';
import { ffnExperts } from '../moe/ffn-experts.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import type { AttachProbe, Probe } from '../run/probe.ts';
import type { RunOptions } from '../run/run-probes.ts';
import { runProbes } from '../run/run-probes.ts';

/** Which experts the tokens of each record visit. */
export interface RecordCounts {
  /** Tokens of each record. */
  tokens: Uint32Array;
  layers: LayerVisits[];
}

/** Of one layer. */
export interface LayerVisits {
  id: string;
  k: number;
  /** Width of the router. */
  experts: number;
  /** [records, experts] */
  visits: Uint32Array;
  /** The columns whose experts have matrices: a token that is sent to another needs no calibration. */
  columns: number[];
}

/**
 * Runs a model over records and counts visits; of each layer only the routing is looked at, so experts whose results
 * no router reads are not run. Layers without a top-k are left out: every token visits all their experts.
 * @throws Fault ROUTING_RANGE, and those of {@link runProbes}
 */
export async function countTokens(
  open: () => PreparedModel,
  batches: readonly Batch[],
  records: number,
  options: RunOptions = {},
): Promise<RecordCounts> {
  const tokens = new Uint32Array(records);
  const layers: LayerVisits[] = [];
  const attach: AttachProbe = (model, layer) => {
    const { id, router } = layer;
    const { routing } = layer.boundary!;
    emitFloat(model, layer, options.byLayer);
    if (routing.kind !== 'topk') return { outputs: [], take: () => {} };
    const { indices, k } = routing;
    const visited: LayerVisits = {
      id,
      k,
      experts: router.experts,
      visits: new Uint32Array(records * router.experts),
      columns: ffnExperts(layer).map(({ index }) => index),
    };
    // Every layer sees the same tokens: the first one counts them.
    const counted = layers.push(visited) === 1 ? tokens : null;
    const take: Probe['take'] = (results, batch) =>
      addVisits(visited, counted, batch, results[indices.name].data);
    return { outputs: [indices], take };
  };
  await runProbes(open, batches, attach, options);
  return { tokens, layers };
}

function addVisits(
  { k, experts, visits, id }: LayerVisits,
  tokens: Uint32Array | null,
  batch: Batch,
  indices: ArrayLike<number | bigint>,
): void {
  for (const { record, at } of positionsOf(batch, indices.length / k)) {
    if (tokens) tokens[record] += 1;
    for (let j = 0; j < k; j++) {
      const expert = Number(indices[at * k + j]);
      if (!(expert >= 0 && expert < experts)) {
        throw new Fault({
          code: 'ROUTING_RANGE',
          what: `a token was routed to expert ${expert}`,
          why: `the layer has ${experts}`,
          remedy: 'check that the model runs on these records by itself; it may read past its experts',
          where: `layer ${id}`,
        });
      }
      visits[record * experts + expert] += 1;
    }
  }
}
