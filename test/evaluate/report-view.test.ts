// hosts: chromium, firefox — looks at a page
/** The report of an evaluation in a browser: nothing is wider than the window, any two arms are compared, and nothing is loaded. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { evaluationPage } from '../../src/evaluate/page/page.ts';
import { evaluationOf } from './report-fixture.ts';

for (const width of [390, 1440]) {
  test(`at ${width} pixels`, async () => {
    const frame = document.createElement('iframe');
    frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
    frame.srcdoc = evaluationPage(
      evaluationOf({ against: 'vote:4', device: { kernels: 'x'.repeat(300) } }, 'long'.repeat(30)),
    );
    const loaded = new Promise((resolve) => frame.addEventListener('load', resolve));
    document.body.append(frame);
    await loaded;
    const page = frame.contentDocument!;
    try {
      const fits = () => assert.ok(page.documentElement.scrollWidth <= width, `${page.documentElement.scrollWidth}`);
      fits();
      const charts = [...page.querySelectorAll('.chart svg')];
      assert.is(charts.length, 2);
      for (const chart of charts) {
        const own = chart.getBoundingClientRect();
        assert.ok(own.width > 200 && own.height > 200);
        for (const node of chart.querySelectorAll('text, circle')) {
          const { left, right } = node.getBoundingClientRect();
          assert.ok(left >= 0 && right <= width, `${node.textContent}: ${left} to ${right}`);
        }
        // letters are not scaled with the chart
        assert.ok(Number.parseFloat(getComputedStyle(chart.querySelector('text')!).fontSize) >= 12);
      }
      const visible = () => [...page.querySelectorAll<HTMLElement>('.example')].filter((node) => !node.hidden).length;
      const text = (id: string) => page.getElementById(id)!.textContent;
      const choose = (id: string, value: string) => {
        const select = page.getElementById(id) as HTMLSelectElement;
        select.value = value;
        select.dispatchEvent(new Event('change'));
      };
      assert.equal(['name-a', 'both', 'only-a', 'only-b'].map(text), ['label', '5', '4', '3']);
      assert.is(visible(), 7);
      choose('which', 'a');
      assert.is(visible(), 4);
      // the other way round, and another pair
      choose('arm-a', '1');
      choose('arm-b', '2');
      assert.equal(['both', 'only-a', 'only-b', 'none'].map(text), ['5', '3', '4', '0']);
      assert.is(visible(), 3);
      choose('arm-b', '0');
      assert.equal(['both', 'only-a', 'only-b', 'none'].map(text), ['0', '8', '0', '4']);
      choose('which', 'all');
      assert.is(visible(), 12);
      for (const node of page.querySelectorAll('details')) node.open = true;
      fits();
      const { performance } = frame.contentWindow as unknown as typeof globalThis;
      assert.is(performance.getEntriesByType('resource').length, 0);
    } finally {
      frame.remove();
    }
  });
}

test.run();
