/** Audits: which entropy belongs to which token, what counts, and the page. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openLocal } from '../../src/open-local.ts';
import { PAGE_STYLE } from '../../src/page/style.ts';
import { auditEntropy, type EntropyAudit } from '../../src/prune/entropy/audit.ts';
import { auditPage } from '../../src/prune/entropy/page.ts';
import { EXPERT_COLOURS } from '../../src/prune/entropy/page-parts.ts';
import { bimodalityStatement, splitStatement } from '../../src/prune/entropy/statement.ts';
import { rowEntropies } from '../../src/prune/entropy/tsallis.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { runAll } from '../model/run.ts';

const model = await openLocal(await modelTarget('models/nano-base'), { precision: 'exact' });
test.after(() => model.close());
const worst = new Worst();
test.after(() => worst.print());
const TEXT = 'Tom has a dog. However, it is not happy.\nParis is big, and Rome is old.';
const ids = model.encode(TEXT);
const { vocabSize } = model.config;

test('a token’s entropy is that of what was predicted in its place, as the reference in f64 has it', async () => {
  const { logits } = await runAll(model.decoder, ids);
  for (const q of [0.5, 1, 1.01, 1.2, 1.5, 1.8]) {
    const { texts, split } = await auditEntropy(model, TEXT, { q, percentile: 80 });
    const { tokens } = texts[0]!;
    assert.equal(
      tokens.map(({ id }) => id),
      ids,
    );
    assert.equal([tokens[0]!.entropy, tokens[0]!.high, tokens[0]!.counts], [null, null, false]);
    for (const [t, { entropy, high, counts, logprob, top }] of tokens.entries()) {
      if (t === 0) continue;
      const row = logits.subarray((t - 1) * vocabSize, t * vocabSize);
      const { tsallis, logSumExp } = rowEntropies(row, q);
      assert.ok(worst.within(`order ${q}`, Math.abs(entropy! - tsallis) / Math.max(1, tsallis), 1e-4));
      assert.ok(Math.abs(logprob! - (row[ids[t]!]! - logSumExp)) < 1e-4);
      assert.ok(Math.abs(top[0]!.logprob - (Math.max(...row) - logSumExp)) < 1e-4);
      assert.is(top.length, 5);
      assert.is(high, entropy! > split.cut);
      assert.ok(counts);
    }
    assert.is(split.tokens, ids.length - 1);
    assert.is(split.high, tokens.filter(({ high }) => high).length);
  }
});

test('of several sequences what is learned counts, in one percentile and one histogram', async () => {
  const one = model.encode('Question: What is it?\nAnswer:');
  const two = [...one, ...model.encode(' It is a dog.', { addBos: false })];
  const learned = Uint8Array.from(two, (_, t) => (t >= one.length ? 1 : 0));
  const sequences = [{ ids: two, learned, name: 'first' }, { ids: Int32Array.from(ids) }, { ids: two, learned }];
  const told: number[] = [];
  const audit = await auditEntropy(model, sequences, { onProgress: (done) => told.push(done) });
  assert.equal(told, [0]);
  assert.is(audit.split.tokens, 2 * (two.length - one.length) + ids.length - 1);
  assert.equal(
    audit.texts.map(({ name }) => name),
    ['first', null, null],
  );
  assert.equal(audit.texts[0]!.tokens, audit.texts[2]!.tokens);
  assert.equal(
    audit.texts[0]!.tokens.map(({ counts }) => Number(counts)),
    [...learned],
  );
  const alone = await auditEntropy(model, two, { cut: audit.split.cut, fallback: false });
  assert.equal(
    alone.texts[0]!.tokens.map(({ entropy, high }) => [entropy, high]),
    audit.texts[0]!.tokens.map(({ entropy, high }) => [entropy, high]),
  );
});

test('what cannot be audited is refused before anything is computed', async () => {
  const none = { ...model, name: 'none', config: model.config, score: () => assert.unreachable() };
  const refused = (options: object) => rejects('E_ARGUMENT', () => auditEntropy(none as never, TEXT, options as never));
  assert.match((await refused({ q: 2 })).message, 'the highest is 0.999');
  await refused({ cut: 1, percentile: 80 });
  await refused({ percentile: 101 });
  await refused({ cutt: 1 });
  await rejects('E_ARGUMENT', () => auditEntropy(model, [0]));
  await rejects('E_ARGUMENT', () => auditEntropy(model, []));
  await rejects('E_ABORTED', () => auditEntropy(model, TEXT, { signal: AbortSignal.abort() }));
});

const bad = (text: string) => ({
  id: 1,
  text,
  entropy: 1.5,
  high: true,
  counts: true,
  logprob: -1,
  top: [{ id: 2, text, logprob: -2 }],
  routing: { expert: 0, probabilities: [0.1, 0.9], coefficients: [1], entropy: 0.5, high: false },
});

test('the page loads nothing, and what a text holds stays text', async () => {
  const audit = await auditEntropy(model, TEXT, {});
  const texts = ['</script><script>alert(1)</script>', '<img src=x>"\'&', 'a\u0007\u001b[31m', '\ud83d', '', '\n'];
  const hostile: EntropyAudit = {
    ...audit,
    model: '<b>&',
    experts: ['</script><img src=y>\u001b'],
    texts: [{ name: '<i>', tokens: texts.map(bad) }],
  };
  const page = auditPage(hostile);
  assert.not.match(page, /<[a-z][^>]*\s(?:src|href|on\w+)\s*=|url\(|@import|<b>&|<img|alert\(1\)</);
  assert.not.ok(page.includes('\u001b') || page.includes('\u0007'));
  assert.is([...page.matchAll(/<script/g)].length, 3);
  assert.is([...page.matchAll(/<\/script>/g)].length, 3);
  const data = JSON.parse(/id="data">(.*?)<\/script>/s.exec(page)![1]!);
  assert.equal(
    data.map(([text]: [string]) => text),
    texts,
  );
  const plain = auditPage(audit);
  assert.is([...plain.matchAll(/data-i="/g)].length, ids.length);
  assert.is([...plain.matchAll(/<mark class="h" data-i/g)].length, audit.split.high);
});

test('letters and bars stand out from what is behind them, in light and dark', () => {
  const schemes = [...PAGE_STYLE.matchAll(/:root \{(.*?)\}/gs)].map(([, text]) =>
    Object.fromEntries(Array.from(text!.matchAll(/--([\w-]+): (#[0-9a-f]{6})/g), ([, name, value]) => [name!, value!])),
  );
  assert.is(schemes.length, 2);
  const luminance = (colour: string): number => {
    const [r, g, b] = [1, 3, 5].map((at) => {
      const c = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  for (const scheme of schemes) {
    const contrast = (a: string, b: string): number => {
      const [x, y] = [luminance(scheme[a]!), luminance(scheme[b]!)].sort((p, q) => q - p) as [number, number];
      return (x + 0.05) / (y + 0.05);
    };
    // of WCAG: text 4.5, graphics 3
    for (const [a, b] of [
      ['ink', 'page'],
      ['ink', 'box'],
      ['soft', 'page'],
      ['soft', 'box'],
      ['high-ink', 'high'],
      ['low-ink', 'low'],
      ...Array.from({ length: EXPERT_COLOURS }, (_, i) => [`e${i + 1}`, 'box'] as const),
    ] as const) {
      assert.ok(contrast(a, b) >= 4.5, `${a} on ${b}: ${contrast(a, b)}`);
    }
    for (const a of ['high-bar', 'low-bar', 'high-line'])
      assert.ok(contrast(a, 'page') >= 3, `${a}: ${contrast(a, 'page')}`);
    for (let i = 1; i <= EXPERT_COLOURS; i++) {
      for (const under of ['high', 'low']) assert.ok(contrast(`e${i}`, under) >= 3, `e${i} on ${under}`);
    }
  }
});

test('what is said of a split and of humps', async () => {
  const at = async (options: object) => splitStatement((await auditEntropy(model, TEXT, options)).split);
  const tokens = ids.length - 1;
  assert.match(
    await at({ cut: 0, fallback: false }),
    `${tokens} of ${tokens} tokens (100.0 %) are high: entropy S_1.5 above 0,`,
  );
  assert.match(await at({ cut: 0 }), /The cut 0 would mark 100\.0 % as high, .* the 80th percentile /);
  assert.match(await at({ q: 1, percentile: 50 }), /entropy H \(Shannon\) above .* is the 50th percentile/);
  const { distribution } = await auditEntropy(model, TEXT, {});
  assert.match(bimodalityStatement(distribution), /Sarle’s coefficient is 0\.\d{3}, /);
  assert.match(bimodalityStatement({ ...distribution, bimodality: null }), 'too few');
});

test.run();
