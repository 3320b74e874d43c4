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
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return controller.signal;
}
