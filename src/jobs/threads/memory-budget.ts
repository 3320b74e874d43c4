/** An amount that is shared out: whoever needs some waits until it is free. */
export interface Budget {
  /** Resolves to a function that gives the amount back. First come, first served. */
  reserve(amount: number): Promise<() => void>;
}

/** Share of the free memory that work may take where nobody says how much. */
const memoryShare = 0.8;

/** Bytes that work may take on this machine, as it is now. */
export function usableMemory(): number {
  return process.availableMemory() * memoryShare;
}

/** A budget of bytes. A request larger than all of it gets all of it, and so runs alone. */
export function memoryBudget(total: number): Budget {
  let free = total;
  const waiting: { amount: number; start: () => void }[] = [];
  const startNext = (): void => {
    while (waiting.length > 0 && waiting[0].amount <= free) {
      const { amount, start } = waiting.shift()!;
      free -= amount;
      start();
    }
  };
  return {
    reserve(wanted) {
      const amount = Math.min(wanted, total);
      return new Promise((resolve) => {
        const release = (): void => {
          free += amount;
          startNext();
        };
        waiting.push({ amount, start: () => resolve(release) });
        startNext();
      });
    },
  };
}
