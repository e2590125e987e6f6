/** The page of a pruning: what it says, what it says was not measured, where its dots stand, and that text stays text. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EspalierError } from '../../src/errors.ts';
import { PAGE_STYLE } from '../../src/page/style.ts';
import { prunePage } from '../../src/prune/report/page.ts';
import type { PruneReport, ReportedLook } from '../../src/prune/report/report.ts';
import { digest, fullReport, isolationOf, LOOKS, STATE, sampleOf } from './report-fixture.ts';

const count = (page: string, what: RegExp): number => [...page.matchAll(what)].length;
const text = (page: string): string =>
  page
    .replace(/<(style|script).*?<\/\1>/gs, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');

test('everything that was measured is there, and survives JSON', () => {
  const report = fullReport();
  const page = prunePage(report);
  assert.is(prunePage(JSON.parse(JSON.stringify(report)) as PruneReport), page);
  const said = text(page);
  for (const part of [
    'What was forgotten: authors nano-tofu-full',
    'answers to be forgotten 0.983 → 0.00487',
    'answers to be kept 0.982 → 0.976',
    'measure without the adapter with it should come to answers to be kept 0.982 0.976 0.982',
    'forget quality 2.8 · 10 −20 0.37 1 forget10: perplexity of answers 31.4 29.2 –',
    'isolation holds',
    `forgotten 400 18 230 ${digest('f')}`,
    `kept 3 600 165 000 ${digest('e')}`,
    'Requests before this one: places.',
    'authors of ten books 400',
    '1 of 4 tokens (25.0 %) is high',
    'reference, 400 of them), which have a mean probability of 0.0043',
    '5 ✓ chosen',
    'Experts act with a strength of 0.913, by what is left through the gate: 0.0102 at 0.9, 0.00972 at 0.913.',
    'A, shared 8 000 structure: 50 steps, 7 200 tokens of high and 0 of low entropy forgetting authors: 39 of 39 retain: 40 of 40',
    'B 1 , forgets authors 8 000 forgetting authors: 39 steps, 0 tokens of high and 12 040 of low entropy structure: 50 of 50 retain: 1 of 40',
    'the model itself 57 tensors never structure: 50 of 50',
    'right where answers are to be forgotten 99.9 %',
    'right everywhere else 99.8 %',
    'Of what was forgotten Of 4 predicted tokens experts act at 2: authors at 2.',
    'Of what was kept',
    'opened without this adapter it is what it was. Its weights in memory had the same digest',
    'espalier prune --undo would be said here',
  ])
    assert.ok(said.includes(part), part);
  assert.not.match(said, 'not measured');
  assert.is(count(page, /class="chosen"/g), 2, 'in the table, and in that of all states');
  assert.match(page, 'All 8 states, with other strengths');
  // tokens of both samples have numbers of their own
  assert.equal(
    Array.from(page.matchAll(/data-i="(\d+)"/g), ([, i]) => Number(i)),
    [0, 1, 2, 3, 4, 5, 6, 7],
  );
  assert.is(JSON.parse(/id="data">(.*?)<\/script>/s.exec(page)![1]!).length, 8);
});

test('a strength that is kept for the sake of what is kept is said to be that', () => {
  const report = fullReport();
  const page = prunePage({ ...report, strength: { ...report.strength!, by: 'retain' } });
  assert.ok(
    text(page).includes(
      'strength of 0.913, as at the look: a stronger one would keep too little. Left through the gate: 0.0102 at 0.9',
    ),
  );
});

test('what was not measured is said so, part by part', () => {
  const { source, data } = fullReport();
  const page = prunePage({ source, data });
  const parts = page.split('<h2>').slice(1);
  const silent = parts.filter((part) => !part.includes('not measured')).map((part) => part.slice(0, part.indexOf('<')));
  assert.equal(silent, ['Forgotten and kept', 'How to take it back']);
  assert.is(count(page, /not measured/g), 8 + 5);
  assert.not.match(page, /<script/);
  assert.match(text(page), 'answers to be forgotten not measured → not measured');
  const half = prunePage({
    source,
    data: { ...data, forget: { examples: 1, digest: 'x' } },
    measures: [{ name: 'u', before: 1, after: null }],
  });
  assert.match(text(half), 'forgotten 1 not measured x');
  assert.match(text(half), 'with it u 1 not measured');
  assert.not.match(text(half), 'should come to');
  assert.is(count(prunePage({ source, data, looks: [[{ look: 1, epoch: 1 }]] }), /class="plot"/g), 0);
});

const dotsOf = (page: string) =>
  Array.from(page.matchAll(/<span class="dot([^"]*)" style="left:([\d.]+)%;bottom:([\d.]+)%/g), ([, kind, x, y]) => ({
    kind: kind!.trim(),
    x: Number(x) / 100,
    y: Number(y) / 100,
  }));

test('dots stand where their measures are', () => {
  const report = fullReport();
  const page = prunePage(report);
  const dots = dotsOf(page);
  const all: ReportedLook[] = [{ look: 0, epoch: 0, ...report.before! }, ...LOOKS.flat()];
  assert.is(dots.length, all.length);
  assert.equal(
    dots.map(({ kind }) => kind),
    ['start', '', '', '', '', '', 'pick', '', 'other'],
  );
  // from 1e-3, below .0032 and the goal, to 1: three decades; and 0.975 .. 0.982 with some room
  for (const [i, { x, y }] of dots.entries()) {
    assert.ok(Math.abs(y - (Math.log10(all[i]!.forget!) + 3) / 3) < 1e-3, `${i}: ${y}`);
    const room = 0.08 * (0.982 - 0.975);
    const more = Math.max(room, 0.005 * 0.982);
    assert.ok(Math.abs(x - (all[i]!.retain! - 0.975 + more) / (0.007 + 2 * more)) < 1e-3, `${i}: ${x}`);
  }
  const label = /class="plot" role="img" aria-label="([^"]*)"/.exec(page)![1]!;
  assert.match(
    label,
    'probability of answers to be forgotten (lower is better) against probability of answers to be kept, 8 states',
  );
  assert.match(label, 'look 1: 1 against 0.98');
  assert.match(label, 'chosen, look 5 at strength 0.8: 0.0251 against 0.976');
});

test('forget quality and utility are shown where every state has them, down to nothing', () => {
  const { source, data, target, before } = fullReport();
  const looks = [1e-239, 0, 0.37].map((forgetQuality, i) => [
    { look: i + 1, epoch: i, forgetQuality, utility: 0.36, forget: 0.1 },
  ]);
  const page = prunePage({ source, data, target: target!, before: before!, looks });
  const dots = dotsOf(page);
  assert.is(dots.length, 3, 'no start, whose quality nobody knows');
  assert.ok(dots.every(({ x, y }) => Math.abs(x - 0.5) < 1e-9 && y >= 0 && y <= 1));
  assert.ok(dots[1]!.y < dots[0]!.y && dots[0]!.y < dots[2]!.y);
  assert.ok(count(page, /class="tick"/g) <= 7);
  assert.not.match(page, /class="goal"/);
  assert.match(text(page), 'Upwards: forget quality (p of a KS test, higher is better). Rightwards: model utility.');
  const one = dotsOf(prunePage({ source, data, looks: [LOOKS[2]!] }));
  assert.is(one.length, 1);
});

test('isolation that is broken or open is not called whole', () => {
  const report = fullReport();
  const name = '<img src=x>.lora_A';
  const violations = [{ what: 'changed', role: 'shared', name, step: 60, since: 51 } as const];
  const broken = prunePage({ ...report, isolation: isolationOf({ ...STATE, violations }) });
  assert.match(text(broken), 'isolation broken');
  assert.match(text(broken), 'Something changed, or was about to change');
  assert.match(broken, '<li class="bad">changed: shared, <code>&#60;img src=x&#62;.lora_A</code>, steps 51 to 60</li>');
  assert.not.match(text(broken), 'nothing had changed');
  const open = text(prunePage({ ...report, isolation: isolationOf({ ...STATE, moments: STATE.moments.slice(0, 2) }) }));
  assert.match(open, 'isolation holds so far');
  assert.match(open, 'the end was not compared, and the record is open');
  const [begin, end] = [STATE.moments[0]!, { ...STATE.moments[2]!, base: digest('c') }];
  const other = text(prunePage({ ...report, isolation: isolationOf({ ...STATE, moments: [begin, end] }) }));
  assert.not.match(other, 'had the same digest in the end');
});

test('what is no report is refused, part by part', () => {
  const report = fullReport();
  assert.throws(
    () => prunePage(null as never),
    (error: EspalierError) => error.code === 'E_ARGUMENT',
  );
  for (const key of Object.keys(report)) {
    for (const wrong of [true, [null]]) {
      assert.throws(
        () => prunePage({ ...report, [key]: wrong }),
        (error: EspalierError) => error.code === 'E_ARGUMENT' && error.message.startsWith(key),
        key,
      );
    }
  }
});

test('a strength that is no number is refused, where a figure may be missing', () => {
  const report = fullReport();
  const { strength } = report;
  const [first, ...rest] = strength!.tried;
  const nothing = null as unknown as number;
  for (const wrong of [
    { ...strength!, settled: nothing },
    { ...strength!, tried: [{ ...first!, strength: nothing }, ...rest] },
  ]) {
    assert.throws(
      () => prunePage({ ...report, strength: wrong }),
      (error: EspalierError) => error.code === 'E_ARGUMENT' && error.message.startsWith('strength.'),
    );
  }
  const page = prunePage({ ...report, strength: { ...strength!, tried: [{ ...first!, forget: nothing }, ...rest] } });
  assert.match(text(page), '0.00972 at 0.913');
});

test('text stays text, wherever it is from', () => {
  const evil = '</script><script>alert(1)</script><img src=x onerror=alert(1)>"\'&\u001b[31m';
  const report = fullReport();
  const audit = sampleOf(evil);
  const hostile = JSON.parse(
    JSON.stringify({
      ...report,
      samples: [
        {
          side: 'forget',
          audit: {
            ...audit,
            texts: [{ name: evil, tokens: audit.texts[0]!.tokens.map((own) => ({ ...own, text: evil })) }],
          },
        },
      ],
    }),
    (key, value) =>
      typeof value !== 'string' || (/^(?:side|rule|at|what|role|text|name)$/.test(key) && key !== 'name')
        ? value
        : evil,
  ) as PruneReport;
  const kinds = { [evil]: STATE.kinds['structure']!, 'forget-<b>': STATE.kinds['retain']! };
  const page = prunePage({
    ...hostile,
    isolation: { ...isolationOf(STATE), kinds, base: { tensors: 1, rested: { [evil]: { steps: 1, verified: 1 } } } },
  });
  assert.is(count(page, /<script/g), 3);
  assert.is(count(page, /<\/script>/g), 3);
  assert.not.match(page, /<img|<b>|<[a-z][^>]*\s(?:src|href|on\w+)\s*=|url\(|@import/);
  assert.not.ok(page.includes('\u001b'));
  assert.ok(count(page, /&#60;img src=x onerror=alert\(1\)&#62;&#34;&#39;&#38;\ufffd\[31m/g) > 12);
});

test('a warning stands out in light and dark', () => {
  const colours = [...PAGE_STYLE.matchAll(/--page: (#\w{6})[^}]*--bad: (#\w{6})/g)];
  assert.is(colours.length, 2);
  for (const [, page, bad] of colours) {
    const luminance = (colour: string) =>
      [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => {
        const c = Number.parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16) / 255;
        return sum + share * (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
      }, 0);
    const [a, b] = [luminance(page!), luminance(bad!)].sort((x, y) => y - x) as [number, number];
    assert.ok((a + 0.05) / (b + 0.05) >= 4.5);
  }
});

test.run();
