import { existsSync } from 'node:fs';
import { type Browser, type Page, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { evaluateGates } from '../../src/report/gates/gates.ts';
import { reportHtml } from '../../src/report/html.ts';
import { buildReport } from './helpers/build-report.ts';

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
);
const shapes = { small: {}, large: { layers: 48, experts: 128, topK: 8, tokens: 60_000, records: 300 } };
const rounding = 1;

describe.skipIf(!executablePath)(
  'in a browser (skipped where neither chromium nor chrome is installed)',
  () => {
    let browser: Browser;

    beforeAll(async () => {
      browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox'] });
    });
    afterAll(() => browser?.close());

    test.each([
      ['small', 360],
      ['small', 1280],
      ['large', 360],
      ['large', 1280],
    ] as const)('the %s report at %i pixels never scrolls sideways as a page', async (name, width) => {
      const page = await open(name, { width });
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(
        width + rounding,
      );
      await page.close();
    });

    test('the first screen of a phone names the culprit', async () => {
      const page = await open('small', { width: 360 });
      const box = await page.getByText('L1 expert 3: far from the reference').boundingBox();
      expect(box!.y + box!.height).toBeLessThan(640);
      await page.close();
    });

    test('nothing is fetched and nothing goes wrong', async () => {
      const page = await browser.newPage();
      const requests: string[] = [];
      const errors: string[] = [];
      page.on('request', (request) => requests.push(request.url()));
      page.on('pageerror', (error) => errors.push(error.message));
      page.on('console', (message) => errors.push(message.text()));
      await page.setContent(htmlOf('small'));
      expect([requests, errors]).toEqual([[], []]);
      await page.close();
    });

    test('the page changes between light and dark, and paper is always light', async () => {
      const page = await open('small', { width: 900 });
      const background = () => page.evaluate('getComputedStyle(document.body).backgroundColor');
      expect(await background()).toBe('rgb(255, 255, 255)');
      await page.emulateMedia({ colorScheme: 'dark' });
      expect(await background()).toBe('rgb(18, 22, 29)');
      await page.emulateMedia({ colorScheme: 'dark', media: 'print' });
      expect(await background()).toBe('rgb(255, 255, 255)');
      await page.close();
    });

    test('the keyboard reaches and scrolls what is wider than a phone', async () => {
      const page = await open('small', { width: 360 });
      const map = page.getByRole('region', { name: 'SQNR of every expert: layers down' });
      await map.focus();
      await page.keyboard.press('ArrowRight');
      await expect.poll(() => map.evaluate((element) => element.scrollLeft)).toBeGreaterThan(0);
      await page.close();
    });

    test('a screen reader gets headings, named figures and tables with captions', async () => {
      const page = await open('small', { width: 900 });
      expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1);
      expect(await page.getByRole('heading', { level: 2 }).count()).toBe(8);
      for (const name of [
        'Top-k agreement by layer',
        'SQNR of every expert',
        'Tokens per expert',
        'Outlier channels',
      ]) {
        expect(await page.getByRole('img', { name }).count()).toBe(1);
      }
      const row = page
        .getByRole('table', { name: 'Exact match by task' })
        .getByRole('row', { name: /^add 95/ });
      expect(await row.getByRole('rowheader').textContent()).toBe('add');
      await page.close();
    });

    test('text is readable against its background in both schemes', async () => {
      for (const colorScheme of ['light', 'dark'] as const) {
        const page = await open('small', { width: 900, colorScheme });
        expect(await page.evaluate(lowestContrast)).toBeGreaterThan(4.5);
        await page.close();
      }
    });

    async function open(
      name: keyof typeof shapes,
      { width, colorScheme = 'light' }: { width: number; colorScheme?: 'light' | 'dark' },
    ): Promise<Page> {
      const page = await browser.newPage({ viewport: { width, height: 640 }, colorScheme });
      await page.setContent(htmlOf(name));
      return page;
    }
  },
);

function htmlOf(name: keyof typeof shapes): string {
  const report = buildReport(shapes[name]);
  report.layers[1].experts[3].sqnrDb = 4.2;
  report.gates = evaluateGates(report, { min: { 'expert.sqnrDb': 10, topKAgreement: 0.5 }, max: {} });
  return reportHtml(report);
}

/** Runs in the page: the lowest WCAG contrast of any text with the nearest background behind it. */
const lowestContrast = `(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const backgroundOf = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll('main *')].filter((element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== '') && !['title', 'desc'].includes(element.localName));
  const contrasts = texts.map((element) => {
    const style = getComputedStyle(element);
    const colour = element instanceof SVGElement ? style.fill : style.color;
    const [low, high] = [luminance(parse(colour)), luminance(backgroundOf(element))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  });
  return Math.min(...contrasts);
})()`;
