import { createRequire } from 'node:module';

const manifest = createRequire(import.meta.url)('../package.json') as { version: string };

/** The version of this package; it is written into every model. */
export const { version } = manifest;
