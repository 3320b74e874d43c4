import { describe, expect, test } from 'vitest';
import { progressDisplay, progressLine } from '../../src/cli/show-progress.ts';
import { recordProgress } from '../../src/pipeline/progress.ts';

/** One line up, and clear it. */
const back = '\u001B[1A\u001B[2K';

/** Shows a run of 4 records, 10 s each, and returns what was written, piece by piece. */
function shown(stream: { isTTY?: boolean; columns?: number }): string[] {
  const written: string[] = [];
  let now = 0;
  const progress = progressDisplay({ ...stream, write: (text: string) => written.push(text) }, () => now);
  const tell = recordProgress(progress, 'calibrate', 4);
  for (let done = 1; done <= 4; done++) {
    now += 10_000;
    tell(done);
  }
  progress({ stage: 'write', detail: 'out.onnx' });
  return written;
}

test('without a terminal each piece of work is one plain line', () => {
  expect(shown({})).toEqual(['calibrate  4 records\n', 'write      out.onnx\n']);
});

describe('on a terminal', () => {
  const written = shown({ isTTY: true, columns: 100 });

  test('a bar is redrawn in its place, with the time left and in the end the time taken', () => {
    expect(written).toHaveLength(6);
    expect(written[0]).toMatch(/^calibrate {2}░{24} {3}0 % {2}4 records\n$/);
    expect(written[1]).toBe(
      `${back}calibrate  ${'█'.repeat(6)}${'░'.repeat(18)}  25 %  4 records, 0:30 left\n`,
    );
    expect(written[4]).toMatch(/█{24} 100 % {2}4 records, 0:40\n$/);
    expect(written[5]).toBe('write      out.onnx\n');
  });

  test('there are no colours, and no line is wider than the terminal', () => {
    expect(written.join('').replaceAll(back, '')).not.toContain('\u001B');
    for (const line of shown({ isTTY: true, columns: 30 }))
      expect(line.replace(back, '').trimEnd().length).toBeLessThan(30);
  });
});

test('minutes are told as such', () => {
  const event = { stage: 'verify', detail: '9 records', done: 1, total: 9 } as const;
  expect(progressLine(event, 10_000, 100)).toMatch(/9 records, 1:20 left$/);
});
