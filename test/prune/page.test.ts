// hosts: chromium, firefox — looks at a page
/** The page of an audit in a browser: nothing is wider than the window, and a token tells what is known of it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { AuditedToken, EntropyAudit } from '../../src/prune/entropy/audit.ts';
import { distributionOf } from '../../src/prune/entropy/distribution.ts';
import { auditPage } from '../../src/prune/entropy/page.ts';
import { splitEntropies } from '../../src/prune/entropy/split.ts';

const token = (text: string, entropy: number | null, high: boolean | null): AuditedToken => ({
  id: 1,
  text,
  entropy,
  high,
  counts: entropy !== null,
  logprob: entropy === null ? null : -1,
  routing:
    entropy === null
      ? null
      : {
          expert: high ? 1 : null,
          probabilities: [0.25, 0, 0.75],
          coefficients: high ? [0.25, 0.5] : [0, 0],
          entropy,
          high: high === true,
        },
  top: entropy === null ? [] : [text, '<b>', 'x'.repeat(200)].map((one, i) => ({ id: i, text: one, logprob: -1 - i })),
});
const tokens = [
  token('<s>', null, null),
  token('Long'.repeat(120), 0.4, false),
  token(' However', 1.6, true),
  token('\n', 0.1, false),
  token(' 猫', 1.9, true),
];
const values = [0.4, 1.6, 0.1, 1.9];
const audit: EntropyAudit = {
  model: 'a/very/long/'.repeat(12),
  experts: ['people', 'a place of a long name '.repeat(8)],
  split: splitEntropies(values, 512, { fallback: false }),
  distribution: distributionOf(values),
  texts: [{ name: 'data.jsonl, line 1', tokens }],
};

async function shown(width: number): Promise<{ frame: HTMLIFrameElement; page: Document }> {
  const frame = document.createElement('iframe');
  frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
  frame.srcdoc = auditPage(audit);
  const loaded = new Promise((resolve) => frame.addEventListener('load', resolve));
  document.body.append(frame);
  await loaded;
  return { frame, page: frame.contentDocument! };
}

for (const width of [390, 1440]) {
  test(`nothing is wider than ${width} pixels, and tokens tell`, async () => {
    const { frame, page } = await shown(width);
    try {
      const fits = () => assert.ok(page.documentElement.scrollWidth <= width, `${page.documentElement.scrollWidth}`);
      fits();
      const details = page.getElementById('details')!;
      assert.ok(details.hidden);
      const spans = [...page.querySelectorAll<HTMLElement>('[data-i]')];
      assert.equal(
        spans.map(({ className }) => className),
        ['o', 'l', 'h e e2 s', 'l', 'h e e2 s'],
      );
      assert.is(spans[2]!.tagName, 'MARK');
      spans[2]!.dispatchEvent(new PointerEvent('pointerover', { bubbles: true, pointerType: 'mouse' }));
      assert.not.ok(details.hidden);
      assert.match(details.textContent!, '" However"');
      assert.match(details.textContent!, 'entropy 1.6, high');
      assert.is(details.querySelector('b b'), null);
      assert.match(details.textContent!, '"<b>"14 %');
      assert.match(details.textContent!, /none25 %1 people0 %, acts × 0.252 a place .*75 %, acts × 0.5/);
      fits();
      const box = details.getBoundingClientRect();
      assert.ok(box.left >= 0 && box.right <= width && box.top >= 0 && box.bottom <= 900);
      // by keyboard
      spans[2]!.click();
      const next = page.defaultView as unknown as { KeyboardEvent: typeof KeyboardEvent };
      spans[2]!.dispatchEvent(new next.KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
      assert.is(page.activeElement, spans[3]);
      assert.match(details.textContent!, 'entropy 0.1, low');
      spans[3]!.dispatchEvent(new next.KeyboardEvent('keydown', { key: 'Escape', bubbles: true }));
      assert.ok(details.hidden);
      assert.is(page.querySelectorAll('[tabindex="0"]').length, 1);
      spans[0]!.dispatchEvent(new PointerEvent('pointerover', { bubbles: true, pointerType: 'mouse' }));
      assert.match(details.textContent!, 'Nothing stands before it');
    } finally {
      frame.remove();
    }
  });
}

test('a page that is left open asks for nothing', async () => {
  const { frame } = await shown(800);
  const { performance } = frame.contentWindow as unknown as typeof globalThis;
  const names = Array.from(performance.getEntriesByType('resource'), ({ name }) => name);
  assert.is(names.join(), '');
  frame.remove();
});

test.run();
