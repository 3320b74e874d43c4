import type { Progress } from '../pipeline/progress.ts';

/** Progress as plain lines on standard error, so that standard output stays clean. */
export const showProgress: Progress = ({ stage, detail }) => {
  process.stderr.write(`${stage.padEnd(10)} ${detail}\n`);
};
