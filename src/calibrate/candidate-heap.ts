/** A record and what choosing it would gain. */
interface Candidate {
  record: number;
  gain: number;
}

/** Candidates of which the best can be taken: the largest gain, and the earlier record of equals. */
export interface CandidateHeap {
  push(candidate: Candidate): void;
  pop(): Candidate | undefined;
}

/** A binary heap: both operations take time logarithmic in its size. */
export function candidateHeap(): CandidateHeap {
  const heap: Candidate[] = [];
  return {
    push(candidate) {
      let at = heap.length;
      for (let parent = (at - 1) >> 1; at > 0 && isBetter(candidate, heap[parent]); parent = (at - 1) >> 1) {
        heap[at] = heap[parent];
        at = parent;
      }
      heap[at] = candidate;
    },
    pop() {
      const [best] = heap;
      const last = heap.pop();
      if (last && heap.length > 0) sink(heap, last);
      return best;
    },
  };
}

/** Places a candidate from the top down, where the best was taken away. */
function sink(heap: Candidate[], candidate: Candidate): void {
  let at = 0;
  for (let child = 1; child < heap.length; child = 2 * at + 1) {
    if (child + 1 < heap.length && isBetter(heap[child + 1], heap[child])) child += 1;
    if (!isBetter(heap[child], candidate)) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = candidate;
}

function isBetter(a: Candidate, b: Candidate): boolean {
  return a.gain > b.gain || (a.gain === b.gain && a.record < b.record);
}
