import type { Role } from '../moe/roles.ts';
import type { CensusRow } from './report.ts';

/** Tensors that were left alone for the same reason. */
export interface Refusal {
  role: Role;
  reason: string;
  tensors: string[];
}

/** The refused tensors of a census by role and reason, in census order: large models refuse in the hundreds. */
export function refusalsByReason(census: readonly CensusRow[]): Refusal[] {
  return census.flatMap(({ role, refused }) =>
    [...Map.groupBy(refused, ({ reason }) => reason)].map(([reason, group]) => ({
      role,
      reason,
      tensors: group.map(({ tensor }) => tensor),
    })),
  );
}
