#!/usr/bin/env node
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { Fault, isFault } from '../fault.ts';
import { version } from '../version.ts';
import { diffCommand } from './diff.ts';
import { inspectCommand } from './inspect.ts';
import { quantizeCommand } from './quantize.ts';
import { runCommand } from './run.ts';
import { schemaCommand } from './schema.ts';
import { verifyCommand } from './verify.ts';

/** 0: done, and every gate holds; 1: done, but a gate failed; 2: could not do it. */
async function main(args: readonly string[]): Promise<void> {
  await yargs(args)
    .scriptName('moeq')
    .usage('$0 <command>\n\nExpert-aware quantization of ONNX Mixture-of-Experts models.')
    .command(inspectCommand)
    .command(quantizeCommand)
    .command(verifyCommand)
    .command(diffCommand)
    .command(runCommand)
    .command(schemaCommand)
    .demandCommand(1, 'name a command')
    .strict()
    .version(version)
    .wrap(100)
    .exitProcess(false)
    .fail((message, error) => {
      throw error ?? new Fault({ code: 'USAGE', what: message, remedy: 'see "moeq --help"' });
    })
    .parseAsync();
}

try {
  await main(hideBin(process.argv));
} catch (error) {
  process.stderr.write(isFault(error) ? `${error.message}\n` : internalError(error));
  // The conversion was done, and its own check failed.
  process.exitCode = isFault(error) && error.code === 'PARITY' ? 1 : 2;
}

/** A failure nobody foresaw: say so, and show where it happened. */
function internalError(error: unknown): string {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `INTERNAL: this is a defect of moeq, please report it\n${detail}\n`;
}
