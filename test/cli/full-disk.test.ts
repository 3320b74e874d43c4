import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { writeReport } from '../../src/pipeline/write-report.ts';
import { serializeReport } from '../../src/report/report.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { root, runCli } from '../helpers/run-cli.ts';
import { buildReport } from '../report/helpers/build-report.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-full-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Shell commands that leave `$FOLDER` less room than the written model needs, 28 kB; and how to run them. */
const disks = {
  // A user namespace may mount, where the system lets users have one.
  full: {
    shell: ['unshare', '--user', '--map-root-user', '--mount', 'sh'],
    fill: 'mount -t tmpfs -o size=20k tmpfs "$FOLDER"',
  },
  // What a process may write into one file; unlike a full disk this can be had everywhere.
  'limited by the process': { shell: ['sh'], fill: 'ulimit -f 16' },
};
const reasons = { full: 'ENOSPC', 'limited by the process': 'EFBIG' };

interface Outcome {
  status: number | null;
  stderr: string;
  /** What is in the folder afterwards, and in the output that was there before. */
  files: string[];
  output: string;
}

/** Quantizes into a folder of such a disk, where an output exists already; only this very process may see that disk. */
function quantizeOn({ shell: [command, ...flags], fill }: (typeof disks)['full'], set: string): Outcome {
  const script = `${fill} && printf old > "$FOLDER/out.onnx" && "$@"; status=$?; ls -A "$FOLDER"; cat "$FOLDER/out.onnx"; exit $status`;
  const model = join(root, 'test/fixtures/graphs/out5.qwen3_moe.eager.ts.onnx');
  const args = ['quantize', model, '-c', 'configs/rtn.yaml', '--set', set, '--force'];
  const cli = [process.execPath, join(root, 'src/cli/main.ts'), ...args, '-o', join(folder, 'out.onnx')];
  const { status, stdout, stderr } = spawnSync(command, [...flags, '-c', script, 'sh', ...cli], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, FOLDER: folder, NO_COLOR: '1' },
  });
  const lines = stdout.split('\n');
  return { status, stderr, files: lines.slice(0, -1), output: lines.at(-1)! };
}

describe.each(['full', 'limited by the process'] as const)('on a disk that is %s', (name) => {
  const disk = disks[name];
  const canMake = spawnSync(disk.shell[0], [...disk.shell.slice(1), '-c', `FOLDER=/tmp; ${disk.fill}`]);

  test.skipIf(canMake.status !== 0).each(['never', 'always'])(
    'a conversion fails by name, leaves nothing, and an old output as it was (external data: %s)',
    (external) => {
      const { status, stderr, files, output } = quantizeOn(disk, `output.externalData=${external}`);
      expect(stderr).toContain('OUTPUT_FAILED: the model could not be written');
      expect(stderr).toContain(reasons[name]);
      expect(status).toBe(2);
      expect(files).toEqual(['out.onnx']);
      expect(output).toBe('old');
    },
  );
});

test.skipIf(!existsSync('/dev/full'))(
  'a summary that finds no room is a coded error, and what is no file is not replaced',
  () => {
    const report = join(folder, 'report.json');
    writeFileSync(report, serializeReport(buildReport()));
    const { code, stderr } = runCli('diff', report, report, '--markdown', '/dev/full');
    rmSync(report);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^OUTPUT_FAILED: the file could not be written\n {2}where: \/dev\/full\n.*ENOSPC/);
    expect(statSync('/dev/full').isCharacterDevice()).toBe(true);
  },
);

test('a report that cannot be written is a coded error, and no file of it is seen in part', () => {
  const place = join(folder, 'report');
  // Where a file stands, no report can be renamed to.
  mkdirSync(join(place, 'report.html'), { recursive: true });
  expect(faultOf(() => writeReport(buildReport(), place))).toMatchObject({
    code: 'OUTPUT_FAILED',
    where: join(place, 'report.html'),
  });
  expect(readdirSync(place)).toEqual(['report.html', 'report.json']);
});
