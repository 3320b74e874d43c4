import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// Programs and threads that tests start load all sources anew: what was compiled once is found again.
process.env['NODE_COMPILE_CACHE'] ??= join(tmpdir(), 'moeq-compiled');

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // ONNX Runtime is a native addon: a process per test file keeps its threads apart.
    pool: 'forks',
    // Of two cores one would be left alone otherwise.
    maxWorkers: '100%',
    testTimeout: 180_000,
    hookTimeout: 240_000,
    reporters: ['default', './test/helpers/plain-count-reporter.ts'],
  },
});
