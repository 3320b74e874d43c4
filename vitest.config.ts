import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // ONNX Runtime is a native addon: a process per test file keeps its threads apart.
    pool: 'forks',
    testTimeout: 180_000,
    hookTimeout: 240_000,
    reporters: ['default', './test/helpers/plain-count-reporter.ts'],
  },
});
