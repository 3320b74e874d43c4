import type { Branch } from './branch.ts';
import { differences } from './expert-keys.ts';
import type { Meeting } from './meeting.ts';
import type { Region } from './region.ts';

/** Where a branch stands among linears laid end to end: its place in the Concat that its output goes to. */
export function joinedIndex(meeting: Meeting | null, fallback: number): number {
  return meeting?.node.opType === 'Concat' ? meeting.index : fallback;
}

/** The router column of each branch, from what tells the branches apart; all evidence must agree. */
export function branchKeys(
  branches: readonly Branch[],
  meetings: readonly (Meeting | null)[],
  region: Region,
  columns: number,
): { keys: number[] | null; isHitList: boolean; warnings: string[] } {
  const tokens = branches.map(
    ({ up }, index) => up.linears[up.linears.length === 1 ? 0 : joinedIndex(meetings[index], index)].input,
  );
  const evidence = [
    ...differences(tokens, region, columns),
    ...meetingKeys(meetings, region, columns),
    ...stackKeys(branches, columns),
  ];
  const [first] = evidence;
  if (!first)
    return {
      keys: null,
      isHitList: false,
      warnings: ['which router column belongs to which expert could not be told'],
    };
  if (evidence.some(({ keys }) => keys.join() !== first.keys.join())) {
    return {
      keys: null,
      isHitList: false,
      warnings: ['the graph numbers its experts in two ways that disagree'],
    };
  }
  return { keys: first.keys, isHitList: evidence.some(({ isHitOrdinal }) => isHitOrdinal), warnings: [] };
}

/** Where each expert's weight lies in a stack that holds all of them. */
function stackKeys(branches: readonly Branch[], columns: number): ReturnType<typeof differences> {
  const [{ down }] = branches;
  const { shape } = down.view.source;
  const size = down.in * down.out;
  const isStack =
    shape.length === 3 &&
    shape[0] === columns &&
    branches.every((each) => each.down.view.root === down.view.root);
  return isStack
    ? [{ keys: branches.map((each) => Math.floor(each.down.view.offset / size)), isHitOrdinal: false }]
    : [];
}

function meetingKeys(
  meetings: readonly (Meeting | null)[],
  region: Region,
  columns: number,
): ReturnType<typeof differences> {
  if (meetings.includes(null)) return [];
  const known = meetings as Meeting[];
  const [first] = known;
  if (known.every(({ node }) => node === first.node)) {
    return first.node.opType === 'Concat' && known.length > 1
      ? [{ keys: known.map(({ index }) => index), isHitOrdinal: false }]
      : [];
  }
  return first.routing.flatMap((_, at) => {
    const values = known.map(({ routing }) => routing[at]);
    return values.every((value) => value) ? differences(values, region, columns) : [];
  });
}
