import { isAbsolute } from 'node:path';
import * as z from 'zod';
import type { FaultRecord } from '../../fault.ts';
import { Fault } from '../../fault.ts';
import type { ProgressEvent } from '../../pipeline/progress.ts';
import { stages } from '../../pipeline/progress.ts';
import { version } from '../../version.ts';

/** One item of a plan, as it travels: names of things that are found in the shared work folder. */
const messageSchema = z.strictObject({
  /** Of moeq: others may give other bytes. */
  version: z.string().max(100),
  work: z.string().max(4096).refine(isAbsolute, 'the work folder must be an absolute path'),
  /** Key of the stored plan. */
  plan: z.string().regex(/^[0-9a-f]{64}$/, 'a key has 64 hexadecimal digits'),
  /** An item that makes an artefact, or `emit` for all that comes after those. */
  item: z.string().min(1).max(1000),
});

export type QueueMessage = z.infer<typeof messageSchema>;

/** What comes back of `emit`. */
const madeSchema = z.strictObject({ staging: z.uuid() });

const progressSchema = z.strictObject({
  stage: z.enum(stages),
  detail: z.string().max(10_000),
  done: z.number().nonnegative().exactOptional(),
  total: z.number().nonnegative().exactOptional(),
});

const faultSchema = z.strictObject({
  code: z.string().regex(/^[A-Z0-9_]+$/),
  what: z.string(),
  where: z.string().optional(),
  why: z.string().optional(),
  remedy: z.string().optional(),
});

/**
 * What a queue hands out is checked: anyone who reaches the server can write to it.
 * @throws Fault QUEUE_MESSAGE, and QUEUE_VERSION for a message of another version of moeq
 */
export function readMessage(data: unknown): QueueMessage {
  const message = parse(messageSchema, data);
  if (message.version === version) return message;
  throw new Fault({
    code: 'QUEUE_VERSION',
    what: `the run is of moeq ${message.version} and this worker of ${version}`,
    why: 'another version may write other bytes',
    remedy: 'install the same version on every machine',
  });
}

/** @throws Fault QUEUE_MESSAGE */
export function readMade(data: unknown): z.infer<typeof madeSchema> {
  return parse(madeSchema, data);
}

/** @throws Fault QUEUE_MESSAGE */
export function readProgress(data: unknown): ProgressEvent {
  return parse(progressSchema, data);
}

/** The fault behind the reason a queue gives for a failed item. */
export function readFailure(reason: string): Fault {
  try {
    return Fault.fromRecord(faultSchema.parse(JSON.parse(reason)) as FaultRecord);
  } catch {
    // Not one of ours: the queue itself gave up.
    return new Fault({
      code: 'QUEUE_FAILED',
      what: 'the queue gave an item up',
      why: reason,
      remedy: 'look at the workers: one that is killed again and again may lack memory',
    });
  }
}

function parse<S extends z.ZodType>(schema: S, data: unknown): z.output<S> {
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  const [{ path, message }] = result.error.issues;
  throw new Fault({
    code: 'QUEUE_MESSAGE',
    what: 'the queue holds a message that is not of moeq',
    where: path.join('.') || 'the whole message',
    why: message,
    remedy: 'give moeq a server, or a database of it, that nothing else writes to',
  });
}
