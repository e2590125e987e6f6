import { dataElement, escaped } from '../../page/text.ts';
import type { AuditedText, AuditedToken } from './audit.ts';
import { type AuditedRouting, expertMark } from './experts.ts';
import { EXPERT_COLOURS } from './page-parts.ts';
import { effectiveTokens } from './tsallis.ts';

/** Texts for a page, and what its script knows of their tokens, by their number on the page. */
export interface TokensHtml {
  readonly html: string;
  readonly data: readonly unknown[];
}

/**
 * Texts with their tokens coloured.
 * @param first number of the first token on the page
 * @param q of their entropies
 */
export function tokensHtml(texts: readonly AuditedText[], first: number, q: number): TokensHtml {
  let index = first;
  const html = texts.map(({ name, tokens }) => {
    let before: string | null = null;
    const spans = tokens.map((token) => {
      const mark = markText(token.routing);
      const span = tokenSpan(token, index++, mark, mark !== before);
      before = mark;
      return span;
    });
    const head = name === null ? '' : `<h3>${escaped(name)}</h3>\n`;
    return `<section>\n${head}<p class="text" dir="auto">${spans.join('')}</p>\n</section>`;
  });
  return { html: html.join('\n'), data: texts.flatMap((text) => text.tokens.map((token) => details(token, q))) };
}

/** What `SCRIPT` reads: of tokens by their number, and names of experts. */
export function tokenData(tokens: readonly unknown[], experts: readonly string[] | null): string {
  return [dataElement('data', tokens), ...(experts === null ? [] : [dataElement('experts', experts)])].join('\n');
}

/** What colours and marks mean. @param experts none: no adapter has any */
export function legend(experts: readonly string[]): string {
  const acting = experts.map(
    (name, i) => `<li><span class="e s ${colour(i)}" data-e="${i + 1}">${escaped(name)}</span> this expert acts</li>`,
  );
  const several = experts.length > 1 ? ['<li class="hint">+ others act, too</li>'] : [];
  return `<ul class="legend" aria-label="Legend">
${[
  '<li><mark class="h">high</mark> the model was uncertain what comes here</li>',
  '<li><span class="l">low</span> it was rather certain</li>',
  '<li><span class="o">grey</span> not counted</li>',
  ...acting,
  ...several,
].join('\n')}
</ul>`;
}

const colour = (expert: number): string => `e${(expert % EXPERT_COLOURS) + 1}`;

function markText(routing: AuditedRouting | null): string | null {
  const mark = expertMark(routing);
  return mark && `${mark.number}${mark.others ? '+' : ''}`;
}

/** @param begins whether the token before it has another mark */
function tokenSpan(
  { text, high, counts, routing }: AuditedToken,
  index: number,
  mark: string | null,
  begins: boolean,
): string {
  const [tag, kind] = !counts || high === null ? ['span', 'o'] : high ? ['mark', 'h'] : ['span', 'l'];
  const acting = mark === null ? '' : ` e ${colour(routing!.expert!)}${begins ? ' s' : ''}`;
  const number = mark === null ? '' : ` data-e="${mark}"`;
  const shown = escaped(text).replace(/\r?\n/g, '<i>↵</i>\n');
  // an empty text would be a token that nobody can point at
  return `<${tag} class="${kind}${acting}"${number} data-i="${index}">${shown === '' ? '<i>∅</i>' : shown}</${tag}>`;
}

const short = (x: number): number => Number(x.toPrecision(3));

/**
 * By token: text, whether it is high, entropy, equally likely tokens, probability, the likeliest with theirs, and of experts the probabilities
 * of the gate and the coefficients.
 */
function details({ text, entropy, high, logprob, top, routing }: AuditedToken, q: number): unknown {
  if (entropy === null) return [text];
  const alike = effectiveTokens(entropy, q);
  const likely = top.map((one) => [one.text, short(Math.exp(one.logprob))]);
  const own = logprob === null ? null : short(Math.exp(logprob));
  const few = Number.isFinite(alike) ? short(alike) : null;
  const known = [text, high ? 1 : 0, Number(entropy.toFixed(3)), few, own, likely];
  return routing ? [...known, [routing.probabilities.map(short), routing.coefficients.map(short)]] : known;
}
