// hosts: chromium, firefox — looks at a page
/** The page of a pruning in a browser: nothing is wider than the window, dots stand inside their plot, samples tell, and nothing is loaded. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { prunePage } from '../../src/prune/report/page.ts';
import { fullReport } from './report-fixture.ts';

async function shown(html: string, width: number): Promise<{ frame: HTMLIFrameElement; page: Document }> {
  const frame = document.createElement('iframe');
  frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
  frame.srcdoc = html;
  const loaded = new Promise((resolve) => frame.addEventListener('load', resolve));
  document.body.append(frame);
  await loaded;
  return { frame, page: frame.contentDocument! };
}

const long = 'people with a very long name '.repeat(8);
const measures = [
  ...fullReport().measures!,
  { name: `${'forget10_perturbed_'.repeat(4)}: ROUGE-L`, before: 1 / 3, after: null },
];
const report = { ...fullReport(), measures, request: long, experts: [long], earlier: ['x'.repeat(300)] };

for (const width of [390, 1440]) {
  test(`at ${width} pixels`, async () => {
    const { frame, page } = await shown(prunePage(report), width);
    try {
      assert.ok(page.documentElement.scrollWidth <= width, `${page.documentElement.scrollWidth}`);
      const plot = page.querySelector('.plot')!.getBoundingClientRect();
      assert.ok(plot.width > 200 && plot.height > 200);
      const dots = [...page.querySelectorAll('.plot .dot')].map((dot) => dot.getBoundingClientRect());
      assert.is(dots.length, 9);
      for (const { left, right, top, bottom } of dots) {
        const [x, y] = [(left + right) / 2, (top + bottom) / 2];
        assert.ok(x >= plot.left && x <= plot.right && y >= plot.top - 1 && y <= plot.bottom + 1, `${x}, ${y}`);
      }
      const label = page.querySelector('.plot .label')!.getBoundingClientRect();
      assert.ok(label.left >= plot.left && label.right <= width && label.bottom <= plot.bottom, JSON.stringify(label));
      // the first look, which everything is likely at, above the last
      assert.ok(dots[1]!.top < dots[7]!.top && dots[1]!.left > dots[7]!.left);
      const last = [...page.querySelectorAll<HTMLElement>('[data-i]')].at(-1)!;
      last.dispatchEvent(new PointerEvent('pointerover', { bubbles: true, pointerType: 'mouse' }));
      assert.match(page.getElementById('details')!.textContent!, /" Smith".*acts × 1/);
      assert.ok(page.documentElement.scrollWidth <= width);
      const { performance } = frame.contentWindow as unknown as typeof globalThis;
      assert.is(performance.getEntriesByType('resource').length, 0);
    } finally {
      frame.remove();
    }
  });
}

test('without samples there is no script, and nothing fails', async () => {
  const { source, data } = report;
  const { frame, page } = await shown(prunePage({ source, data }), 390);
  assert.is(page.querySelectorAll('script').length, 0);
  assert.is(page.querySelectorAll('h2').length, 10);
  assert.ok(page.documentElement.scrollWidth <= 390);
  frame.remove();
});

test.run();
