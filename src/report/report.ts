import type { z } from 'zod';
import type { reportSchema } from './schema.ts';

/** The report of `verify --json`, also written as `report.json`: part of the public contract. */
export type Report = z.infer<typeof reportSchema>;

export type ModelFacts = Report['reference'];
export type OutputMetrics = Report['output'];
export type LayerReport = Report['layers'][number];
/** How alike two routers choose, over the same tokens. */
export type RouterMetrics = LayerReport['router']['local'];
export type CensusRow = Report['census'][number];
export type Gate = Report['gates'][number];
/** Per-record outcomes, from which `diff` tells noise from change. */
export type RecordOutcomes = NonNullable<Report['records']>;
/** Tokens per expert and outlier channels, as the calibration saw them. */
export type Calibration = NonNullable<Report['calibration']>;
