import { constants } from 'node:os';
import { removeTemporaries } from '../files/temporary.ts';

/** Ctrl-C, an end that was asked for, a terminal that is gone. */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * The first Ctrl-C lets the work under way end and keeps it; the second ends the process at once, which costs no more
 * than that work. A thread inside ONNX Runtime must not be terminated, so nothing gentler is left.
 */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) process.kill(process.pid, 'SIGKILL');
    process.stderr.write('stopping after the work under way; again to stop at once\n');
    controller.abort();
  };
  for (const signal of signals) process.on(signal, onSignal);
  return controller.signal;
}

/**
 * A signal ends the process as it always does, but takes its temporary files along, which may be large. It dies of the
 * signal: to exit would terminate threads, and those inside ONNX Runtime must not be.
 */
export function cleanOnSignal(): void {
  for (const signal of signals) {
    const onSignal = (): void => {
      removeTemporaries();
      // Not before: npm sends a second one.
      process.off(signal, onSignal);
      process.kill(process.pid, signal);
      // The first process of a container is not killed by its own signals.
      process.exit(128 + constants.signals[signal]);
    };
    process.on(signal, onSignal);
  }
}
