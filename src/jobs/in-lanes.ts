/** Runs tasks `width` at a time. After a failure none is begun; it is thrown when those under way have ended. */
export async function inLanes<T>(
  tasks: readonly T[],
  width: number,
  run: (task: T) => Promise<void>,
): Promise<void> {
  const queue = tasks.values();
  const failures: unknown[] = [];
  const lane = async (): Promise<void> => {
    for (const task of queue) {
      if (failures.length > 0) return;
      await run(task).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  if (failures.length > 0) throw failures[0];
}
