#!/usr/bin/env node
import type { CommandModule } from 'yargs';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import type { FaultRecord } from '../fault.ts';
import { Fault, isFault } from '../fault.ts';
import { isDiskFull, isMissedGate, refusedFile } from '../jobs/error-record.ts';
import { version } from '../version.ts';
import { startFolder } from './start-folder.ts';

/** Only the command that is asked for is loaded: they need very different parts, and start-up counts in scripts. */
const commands: Record<string, () => Promise<CommandModule<object, never>>> = {
  inspect: async () => (await import('./inspect.ts')).inspectCommand as CommandModule<object, never>,
  quantize: async () => (await import('./quantize.ts')).quantizeCommand as CommandModule<object, never>,
  verify: async () => (await import('./verify.ts')).verifyCommand as CommandModule<object, never>,
  diff: async () => (await import('./diff.ts')).diffCommand as CommandModule<object, never>,
  run: async () => (await import('./run.ts')).runCommand as CommandModule<object, never>,
  worker: async () => (await import('./worker.ts')).workerCommand as CommandModule<object, never>,
  schema: async () => (await import('./schema.ts')).schemaCommand as CommandModule<object, never>,
};

/** 0: done, and every gate holds; 1: done, but a gate failed; 2: could not do it. */
async function main(args: readonly string[]): Promise<void> {
  const asked = Object.hasOwn(commands, args[0]) ? commands[args[0]] : undefined;
  const help = ['moeq', ...(asked ? [args[0]] : []), '--help'].join(' ');
  const loaded = await Promise.all((asked ? [asked] : Object.values(commands)).map((load) => load()));
  await yargs(args)
    .scriptName('moeq')
    .usage('$0 <command>\n\nExpert-aware quantization of ONNX Mixture-of-Experts models.')
    .command(loaded)
    .demandCommand(1, 'name a command')
    .strict()
    .version(version)
    .wrap(100)
    .exitProcess(false)
    .check(requireOneValue)
    .fail((message, error) => {
      throw error ?? new Fault({ code: 'USAGE', what: message, remedy: `see "${help}"` });
    })
    .parseAsync();
}

/**
 * Of a flag that was given twice, or to no value, nothing good can be made.
 * @param options of yargs, those that are lists among them; its types speak of aliases
 * @throws Fault USAGE
 */
function requireOneValue(flags: Record<string, unknown>, options: object): true {
  const { array: lists } = options as { array: string[] };
  const { _: _words, ...named } = flags;
  for (const [name, value] of Object.entries(named)) {
    const isRepeated = Array.isArray(value) && !lists.includes(name);
    if (!isRepeated && value !== '') continue;
    const flag = name.length === 1 ? `-${name}` : `--${name}`;
    const what = isRepeated ? `${flag} was given ${value.length} times` : `${flag} is empty`;
    throw new Fault({ code: 'USAGE', what, remedy: 'give one value' });
  }
  return true;
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader that stops early (`| head`) is no failure; otherwise a result is lost, which is no verdict of a gate.
  if (error.code === 'EPIPE') process.exit();
  process.stderr.write(unforeseenError(error));
  process.exit(2);
});

// Nobody hears of the work; it is done all the same, and the exit code tells how.
process.stderr.on('error', () => {});

try {
  const folder = startFolder();
  if (folder !== null) process.chdir(folder);
  await main(hideBin(process.argv));
} catch (error) {
  process.stderr.write(isFault(error) ? `${error.message}\n` : unforeseenError(error));
  process.exitCode = isFault(error) && isMissedGate(error) ? 1 : 2;
}

/** A failure nobody foresaw: say so, and show where it happened. A full disk may be met wherever something is written. */
function unforeseenError(error: unknown): string {
  const known = isDiskFull(error) ? diskFull(error) : refusedFile(error);
  if (known) return `${new Fault(known).message}\n`;
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `INTERNAL: this is a defect of moeq, please report it\n${detail}\n`;
}

function diskFull({ message: why }: Error): FaultRecord {
  const remedy = 'free some space, also where temporary files go (TMPDIR), and run again';
  return { code: 'DISK_FULL', what: 'there is no space left to write to', why, remedy };
}
