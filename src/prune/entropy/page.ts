import { htmlPage } from '../../page/document.ts';
import { escaped } from '../../page/text.ts';
import type { AuditedText, EntropyAudit } from './audit.ts';
import { expertsStatement } from './experts.ts';
import { histogram } from './page-histogram.ts';
import { SCRIPT, STYLE } from './page-parts.ts';
import { legend, tokenData, tokensHtml } from './page-tokens.ts';
import { bimodalityStatement, splitStatement } from './statement.ts';

/** Tokens on a page; a text is never cut. */
const MOST_TOKENS = 20_000;

/**
 * An audit as one HTML page that needs nothing else: the tokens coloured, a legend, the histogram, and for each token its entropy, what was
 * likely in its place and which experts of an adapter acted there.
 */
export function auditPage({ model, experts, split, distribution, texts }: EntropyAudit): string {
  const some = firstOf(texts);
  const left = texts.length - some.length;
  const shown = tokensHtml(some, 0, split.q);
  const note = left > 0 ? `<p class="note">${left} more texts were counted and are not shown.</p>\n` : '';
  const listed = `<h2>Tokens</h2>
<p class="hint">Point at a token, or choose one and go on with the arrow keys, for its entropy and the likeliest tokens in its place.</p>
<div id="texts">
${shown.html}
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
  const routings = texts.flatMap(({ tokens }) => tokens.map(({ routing }) => routing));
  const acting = experts === null ? '' : `<p>${escaped(expertsStatement(experts, routings))}</p>\n`;
  const body = `<main>
<h1>Token entropy <span class="model">${escaped(model)}</span></h1>
<p>${escaped(splitStatement(split)).replace(/S_([\d.]+)/, 'S<sub>$1</sub>')}</p>
${acting}${legend(experts ?? [])}
${(texts.length === 1 ? [listed, summary] : [summary, listed]).join('\n')}
</main>
<aside id="details" role="status" hidden></aside>
${tokenData(shown.data, experts)}
<script>${SCRIPT}</script>`;
  return htmlPage(`Token entropy: ${model}`, STYLE, body);
}

function firstOf(texts: readonly AuditedText[]): readonly AuditedText[] {
  let tokens = 0;
  const end = texts.findIndex((text, i) => (tokens += text.tokens.length) > MOST_TOKENS && i > 0);
  return end < 0 ? texts : texts.slice(0, end);
}
