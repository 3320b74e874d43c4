import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { setTimeout } from 'node:timers/promises';

/** Why there can be no queue here; null where there can. */
export async function whyNoQueue(): Promise<string | null> {
  if (spawnSync('redis-server', ['--version']).status !== 0)
    return 'there is no redis-server on this machine';
  try {
    await Promise.all([import('bullmq'), import('ioredis')]);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A server of its own that keeps nothing on disk, at a free port of this machine. */
export async function startRedis(): Promise<{ url: string; stop: () => void }> {
  const port = await freePort();
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const server = spawn('redis-server', options, { stdio: ['ignore', 'pipe', 'inherit'] });
  let log = '';
  server.stdout.on('data', (text: Buffer) => (log += text.toString()));
  while (!log.includes('Ready to accept connections')) {
    if (server.exitCode !== null) throw new Error(log);
    await setTimeout(20);
  }
  return { url: `redis://127.0.0.1:${port}`, stop: () => server.kill() };
}
