import type { Batch } from '../data/batches.ts';
import { positionsOf } from '../data/positions.ts';
import { Fault } from '../fault.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Model } from '../onnx/model.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { openSession } from '../runtime/session.ts';

/** Which experts the tokens of each record visit. */
export interface RecordCounts {
  /** Tokens of each record. */
  tokens: Uint32Array;
  /** Per layer: visits [records, router width]. */
  layers: { id: string; k: number; experts: number; visits: Uint32Array }[];
}

/**
 * Runs only the routers of a model over records and counts visits. `model` is cut down to them: pass one of your own.
 * Layers without a top-k are left out: every token visits all their experts.
 */
export async function countTokens(
  model: Model,
  layers: readonly MoeLayer[],
  batches: Iterable<Batch>,
  records: number,
  options: SessionOptions = {},
): Promise<RecordCounts> {
  const routed = layers.flatMap((layer) =>
    layer.boundary?.routing.kind === 'topk' ? [{ layer, ...layer.boundary.routing }] : [],
  );
  const counts: RecordCounts = {
    tokens: new Uint32Array(records),
    layers: routed.map(({ layer, k }) => ({
      id: layer.id,
      k,
      experts: layer.router.experts,
      visits: new Uint32Array(records * layer.router.experts),
    })),
  };
  if (routed.length === 0) return counts;
  model.graph.outputs = routed.map(({ indices }) => indices);
  model.graph.removeDeadCode();
  const session = await openSession(model, options);
  try {
    for (const batch of batches) {
      const results = await session.run(batch.feeds);
      routed.forEach(({ indices }, i) => addVisits(counts, i, batch, results[indices.name].data));
    }
  } finally {
    await session.release();
  }
  return counts;
}

function addVisits(
  counts: RecordCounts,
  index: number,
  batch: Batch,
  indices: ArrayLike<number | bigint>,
): void {
  const { k, experts, visits, id } = counts.layers[index];
  for (const { record, at } of positionsOf(batch, indices.length / k)) {
    if (index === 0) counts.tokens[record] += 1;
    for (let j = 0; j < k; j++) {
      const expert = Number(indices[at * k + j]);
      if (!(expert >= 0 && expert < experts)) {
        throw new Fault({
          code: 'ROUTING_RANGE',
          what: `a token was routed to expert ${expert}`,
          where: `layer ${id}`,
        });
      }
      visits[record * experts + expert] += 1;
    }
  }
}
