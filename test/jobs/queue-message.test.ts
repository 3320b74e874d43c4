import { expect, test } from 'vitest';
import { readProgress } from '../../src/jobs/queue/queue-message.ts';
import type { ProgressEvent } from '../../src/pipeline/progress.ts';
import { stages } from '../../src/pipeline/progress.ts';

test.each(stages)('what a worker tells of stage %s reaches the run', (stage) => {
  const events: ProgressEvent[] = [
    { stage, detail: 'L0' },
    { stage, detail: 'L0', done: 1, total: 3 },
  ];
  expect(events.map((event) => readProgress(JSON.parse(JSON.stringify(event))))).toEqual(events);
});

test.each([
  ['an unknown stage', { stage: 'mine', detail: '' }],
  ['no number', { stage: 'read', detail: '', done: '1' }],
  ['more than belongs there', { stage: 'read', detail: '', run: 'rm' }],
])('progress with %s is refused', (_name, event) => {
  expect(() => readProgress(event)).toThrow('not of moeq');
});
