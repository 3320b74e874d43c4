import type { Batch } from '../data/batches.ts';
import { positionsOf } from '../data/positions.ts';
import type { DataRecord } from '../data/record.ts';
import { taskOf } from '../data/record.ts';
import type { OutputMetrics, RecordOutcomes, Report } from '../report/report.ts';
import type { Results } from '../runtime/session.ts';
import { toFloats } from '../runtime/session.ts';
import { decibel } from './decibel.ts';
import type { JoinedOutput } from './join-models.ts';
import type { Agreement } from './layer-totals.ts';
import { nextToken } from './next-token.ts';

const sides = ['reference', 'quantized'] as const;

/** Something of each of the two models. */
type PerModel<T = number> = Record<(typeof sides)[number], T>;

/** Sums over one record's positions. */
interface RecordSums {
  tokens: number;
  predicted: number;
  error: number;
  power: number;
  kl: number;
  top1: number;
  nll: PerModel;
  /** Answer tokens that were judged, and whether every one so far was the arg-max. */
  answers: number;
  exact: PerModel<boolean>;
  agreement: { local: number; cumulative: number }[];
}

/** Keeps what verification sees of each record; memory grows with records, not with tokens. */
export class OutcomeBook {
  private readonly records: readonly DataRecord[];
  private readonly sums: RecordSums[];
  private readonly layerIds: readonly string[];
  private readonly isLanguage: boolean;
  /** Positions at which outputs are not finite. */
  readonly notFinite = { reference: 0, quantized: 0 };

  constructor(records: readonly DataRecord[], layerIds: readonly string[], isLanguage: boolean) {
    this.records = records;
    this.layerIds = layerIds;
    this.isLanguage = isLanguage;
    this.sums = records.map(() => ({
      tokens: 0,
      predicted: 0,
      error: 0,
      power: 0,
      kl: 0,
      top1: 0,
      nll: { reference: 0, quantized: 0 },
      answers: 0,
      exact: { reference: true, quantized: true },
      agreement: layerIds.map(() => ({ local: 0, cumulative: 0 })),
    }));
  }

  /** Adds the outputs of one batch. */
  addOutputs(batch: Batch, { reference, quantized }: JoinedOutput, results: Results): void {
    const read = (value: { name: string } | null): Float32Array =>
      value ? toFloats(results[value.name]) : new Float32Array();
    const [power, error, kl] = [reference.power, quantized.error, quantized.kl].map(read);
    const top = { reference: read(reference.top), quantized: read(quantized.top) };
    const nll = { reference: read(reference.nll), quantized: read(quantized.nll) };
    for (const { record, step, at } of positionsOf(batch, error.length)) {
      const sums = this.sums[record];
      sums.tokens += 1;
      sums.error += error[at];
      sums.power += power[at];
      sums.kl += kl[at];
      const chosen = bothAt(top, at);
      sums.top1 += chosen.quantized >= 0 && chosen.reference === chosen.quantized ? 1 : 0;
      for (const side of sides) if (chosen[side] < 0) this.notFinite[side] += 1;
      this.addPrediction(record, step, chosen, bothAt(nll, at));
    }
  }

  /** Judges what the models make of the next token, where there is one to predict. */
  private addPrediction(record: number, step: number, top: PerModel, nll: PerModel): void {
    const next = this.isLanguage ? nextToken(this.records[record], step) : undefined;
    if (next === undefined) return;
    const sums = this.sums[record];
    const { answerStart } = this.records[record];
    const isAnswer = answerStart !== null && step + 1 >= answerStart;
    sums.predicted += 1;
    if (isAnswer) sums.answers += 1;
    for (const side of sides) {
      sums.nll[side] += nll[side];
      if (isAnswer && top[side] !== next) sums.exact[side] = false;
    }
  }

  addAgreement(layer: number, { record, local, cumulative }: Agreement): void {
    const sums = this.sums[record].agreement[layer];
    sums.local += local;
    sums.cumulative += cumulative;
  }

  /** The parts of a report that follow from the records. */
  summary(): Pick<Report, 'data' | 'output' | 'tasks' | 'records'> {
    const total = (pick: (sums: RecordSums) => number): number =>
      this.sums.reduce((sum, each) => sum + pick(each), 0);
    const tokens = total((sums) => sums.tokens);
    const predicted = total((sums) => sums.predicted);
    const perplexity = (side: 'reference' | 'quantized'): number =>
      Math.exp(total((sums) => sums.nll[side]) / predicted);
    const output: OutputMetrics = {
      sqnrDb: decibel(
        total((sums) => sums.power),
        total((sums) => sums.error),
      ),
      kl: total((sums) => sums.kl) / tokens,
      top1Agreement: total((sums) => sums.top1) / tokens,
      perplexity:
        predicted > 0 ? { reference: perplexity('reference'), quantized: perplexity('quantized') } : null,
    };
    return {
      data: { records: this.records.length, tokens },
      output,
      tasks: this.tasks(),
      records: this.outcomes(),
    };
  }

  /** Exact match of every task whose answers were judged, in order of first appearance. */
  private tasks(): Report['tasks'] {
    const judged = [...this.records.keys()].filter((i) => this.sums[i].answers > 0);
    const byTask = Map.groupBy(judged, (i) => taskOf(this.records[i])!);
    const tasks = [...byTask].map(([task, indices]) => {
      const share = (side: 'reference' | 'quantized'): number =>
        indices.filter((i) => this.sums[i].exact[side]).length / indices.length;
      return [
        task,
        { records: indices.length, reference: share('reference'), quantized: share('quantized') },
      ] as const;
    });
    return Object.fromEntries(tasks);
  }

  private outcomes(): RecordOutcomes {
    const tasks = this.records.map(taskOf);
    const names = [...new Set(tasks.filter((task) => task !== null))];
    const column = <T>(pick: (sums: RecordSums) => T): T[] => this.sums.map(pick);
    const exact = (side: 'reference' | 'quantized'): number[] =>
      this.sums.map(({ answers, exact: match }) => (answers === 0 ? Number.NaN : Number(match[side])));
    return {
      tasks: names,
      task: tasks.map((task) => (task === null ? null : names.indexOf(task))),
      exactMatch: { reference: exact('reference'), quantized: exact('quantized') },
      tokens: column((sums) => sums.tokens),
      predicted: column((sums) => sums.predicted),
      nll: this.isLanguage
        ? { reference: column((sums) => sums.nll.reference), quantized: column((sums) => sums.nll.quantized) }
        : null,
      kl: column((sums) => sums.kl),
      topKAgreement: this.layerIds.map((layer, i) => ({
        layer,
        local: column((sums) => sums.agreement[i].local),
        cumulative: column((sums) => sums.agreement[i].cumulative),
      })),
    };
  }
}

function bothAt({ reference, quantized }: PerModel<Float32Array>, at: number): PerModel {
  return { reference: reference[at], quantized: quantized[at] };
}
