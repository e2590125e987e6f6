import type { AuditedText, AuditedToken, EntropyAudit } from './audit.ts';
import { SCRIPT, STYLE } from './page-parts.ts';
import { bimodalityStatement, splitStatement } from './statement.ts';
import { effectiveTokens } from './tsallis.ts';
import { visibleText } from './visible.ts';

/** Tokens on a page; a text is never cut. */
const MOST_TOKENS = 20_000;

/**
 * An audit as one HTML page that needs nothing else: the tokens coloured, a legend, the histogram, and for each token its entropy and what was
 * likely in its place.
 */
export function auditPage({ model, split, distribution, texts }: EntropyAudit): string {
  const some = firstOf(texts);
  const left = texts.length - some.length;
  const tokens = some.flatMap((text) => text.tokens);
  let index = 0;
  const shown = some.map((text) => {
    const spans = text.tokens.map((token) => tokenSpan(token, index++)).join('');
    const head = text.name === null ? '' : `<h3>${escaped(text.name)}</h3>\n`;
    return `<section>\n${head}<p class="text" dir="auto">${spans}</p>\n</section>`;
  });
  const note = left > 0 ? `<p class="note">${left} more texts were counted and are not shown.</p>\n` : '';
  const listed = `<h2>Tokens</h2>
<p class="hint">Point at a token, or choose one and go on with the arrow keys, for its entropy and the likeliest tokens in its place.</p>
<div id="texts">
${shown.join('\n')}
</div>
${note}`;
  const summary = `<h2>Entropies of ${split.tokens} tokens</h2>
${histogram(distribution.histogram, split.cut, distribution.most)}
<dl>
<div><dt>high</dt><dd>${(100 * split.share).toFixed(1)} %</dd></div>
<div><dt>mean</dt><dd>${distribution.mean.toFixed(3)}</dd></div>
<div><dt>median</dt><dd>${distribution.median.toFixed(3)}</dd></div>
<div><dt>highest</dt><dd>${distribution.most.toFixed(3)}</dd></div>
<div><dt>highest possible</dt><dd>${split.highest.toFixed(3)}</dd></div>
</dl>
<p>${escaped(bimodalityStatement(distribution))}</p>`;
  const data = tokens.map((token) => details(token, split.q));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Token entropy: ${escaped(model)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Token entropy <span class="model">${escaped(model)}</span></h1>
<p>${escaped(splitStatement(split)).replace(/S_([\d.]+)/, 'S<sub>$1</sub>')}</p>
<ul class="legend" aria-label="Legend">
<li><mark class="h">high</mark> the model was uncertain what comes here</li>
<li><span class="l">low</span> it was rather certain</li>
<li><span class="o">grey</span> not counted</li>
</ul>
${(texts.length === 1 ? [listed, summary] : [summary, listed]).join('\n')}
</main>
<aside id="details" role="status" hidden></aside>
<script type="application/json" id="data">${inScript(data)}</script>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

function firstOf(texts: readonly AuditedText[]): readonly AuditedText[] {
  let tokens = 0;
  const end = texts.findIndex((text, i) => (tokens += text.tokens.length) > MOST_TOKENS && i > 0);
  return end < 0 ? texts : texts.slice(0, end);
}

function tokenSpan({ text, high, counts }: AuditedToken, index: number): string {
  const [tag, kind] = !counts || high === null ? ['span', 'o'] : high ? ['mark', 'h'] : ['span', 'l'];
  const shown = escaped(text).replace(/\r?\n/g, '<i>↵</i>\n');
  // an empty text would be a token that nobody can point at
  return `<${tag} class="${kind}" data-i="${index}">${shown === '' ? '<i>∅</i>' : shown}</${tag}>`;
}

/** By token: text, whether it is high, entropy, equally likely tokens, probability, and the likeliest with theirs. */
function details({ text, entropy, high, logprob, top }: AuditedToken, q: number): unknown {
  if (entropy === null) return [text];
  const alike = effectiveTokens(entropy, q);
  const likely = top.map((one) => [one.text, Number(Math.exp(one.logprob).toPrecision(3))]);
  const own = logprob === null ? null : Number(Math.exp(logprob).toPrecision(3));
  const few = Number.isFinite(alike) ? Number(alike.toPrecision(3)) : null;
  return [text, high ? 1 : 0, Number(entropy.toFixed(3)), few, own, likely];
}

function histogram({ width, counts }: EntropyAudit['distribution']['histogram'], cut: number, most: number): string {
  const end = width * counts.length;
  const tallest = Math.max(1, ...counts);
  const place = Math.min(100, (100 * cut) / end);
  const each = 100 / counts.length;
  const bars = counts.map((count, i): string => {
    if (count === 0) return '';
    // so that one token among thousands is seen
    const tall = Math.max(1, (100 * count) / tallest);
    const [from, to] = [i * each, (i + 0.86) * each];
    // one that the cut goes through has both colours
    const middle = Math.min(to, Math.max(from, place));
    const part = (kind: string, left: number, right: number): string =>
      right - left < 0.01
        ? ''
        : `<rect class="${kind}" x="${left.toFixed(2)}" y="${(100 - tall).toFixed(2)}" width="${(right - left).toFixed(2)}" height="${tall.toFixed(2)}"/>`;
    return part('l', from, middle) + part('h', middle, to);
  });
  const label = `Histogram of entropies from 0 to ${most.toFixed(2)}; high is what is above ${cut.toFixed(2)}.`;
  return `<figure>
<div class="cut" style="left:clamp(2.5rem, ${place.toFixed(2)}%, calc(100% - 2.5rem))">cut ${cut.toFixed(2)}</div>
<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="${label}">
${bars.filter((bar) => bar !== '').join('\n')}
<line x1="${place.toFixed(2)}" x2="${place.toFixed(2)}" y1="0" y2="100"/>
</svg>
<figcaption><span>0</span><span>entropy; the tallest bar is ${tallest} ${tallest === 1 ? 'token' : 'tokens'}</span><span>${end.toFixed(2)}</span></figcaption>
</figure>`;
}

/** Text in HTML. What a terminal or a browser would act on is shown as a replacement character. */
function escaped(text: string): string {
  return visibleText(text).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** JSON that ends no script. */
const inScript = (data: unknown): string => JSON.stringify(data).replace(/</g, '\\u003c');
