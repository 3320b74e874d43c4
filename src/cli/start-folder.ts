import { fileURLToPath } from 'node:url';

const packageFile = fileURLToPath(new URL('../../package.json', import.meta.url));

/**
 * Where the user stands, from which paths are told. `npm run moeq` starts in the folder of the checkout, wherever in it
 * that was typed; null where nothing but the working folder tells.
 */
export function startFolder(env: NodeJS.ProcessEnv = process.env): string | null {
  const { npm_lifecycle_event: script, npm_package_json: file, INIT_CWD: folder } = env;
  return script === 'moeq' && file === packageFile ? (folder ?? null) : null;
}
