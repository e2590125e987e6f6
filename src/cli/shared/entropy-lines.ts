import { visibleName, visibleText } from '../../model/text/visible.ts';
import type { AuditedText, AuditedToken, EntropyAudit } from '../../prune/entropy/audit.ts';
import { expertMark, expertsStatement } from '../../prune/entropy/experts.ts';
import { bimodalityStatement, splitStatement } from '../../prune/entropy/statement.ts';

type Kind = 'high' | 'low' | 'other';

/** Around a run of tokens of one kind: in colours, and in marks where there are none. */
const COLOURS = { high: ['\u001b[30;43m', '\u001b[0m'], low: ['', ''], other: ['\u001b[2m', '\u001b[0m'] } as const;
const MARKS = { high: ['⟦', '⟧'], low: ['', ''], other: ['', ''] } as const;
/** Foregrounds of experts, which begin again behind the last: their numbers stand beside. */
const EXPERTS = [36, 35, 32, 34, 31] as const;
const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹';
const BARS = ' ▁▂▃▄▅▆▇█';

/** What an audit found, for a terminal or a file. */
export function auditLines({ texts, experts, split, distribution }: EntropyAudit, colours: boolean): string {
  const { counts, width } = distribution.histogram;
  const tallest = Math.max(...counts);
  // a bar of its own for what is not nothing
  const bars = counts.map((count) => BARS[count === 0 ? 0 : Math.max(1, Math.round((8 * count) / tallest))]);
  const legend = [
    colours
      ? `${COLOURS.high.join('high')}  low  ${COLOURS.other.join('not counted')}`
      : `${MARKS.high.join('high')}  low`,
    ...(experts ?? []).map((name, i) => around(i + 1, false, visibleName(name), colours)),
    ...(experts !== null && experts.length > 1 ? ['⁺ with others'] : []),
  ];
  const routings = texts.flatMap(({ tokens }) => tokens.map(({ routing }) => routing));
  return [
    ...texts.flatMap((text) => [
      ...(text.name === null ? [] : [`${visibleName(text.name)}:`]),
      marked(text, colours),
      '',
    ]),
    legend.join('  '),
    splitStatement(split),
    ...(experts === null ? [] : [expertsStatement(experts, routings)]),
    `0 |${bars.join('')}| ${(width * counts.length).toFixed(2)}`,
    bimodalityStatement(distribution),
    '',
  ].join('\n');
}

/** Runs of tokens at which the same experts act, and in them runs of one kind. */
function marked({ tokens }: AuditedText, colours: boolean): string {
  const runs: { number: number; others: boolean; tokens: AuditedToken[] }[] = [];
  for (const token of tokens) {
    const { number, others } = expertMark(token.routing) ?? { number: 0, others: false };
    const last = runs.at(-1);
    if (last?.number === number && last.others === others) last.tokens.push(token);
    else runs.push({ number, others, tokens: [token] });
  }
  return runs
    .map(({ number, others, tokens: own }) => {
      const text = ofKinds(own, number, colours);
      return number === 0 ? text : around(number, others, text, colours);
    })
    .join('');
}

function ofKinds(tokens: readonly AuditedToken[], expert: number, colours: boolean): string {
  const runs: { kind: Kind; text: string }[] = [];
  for (const token of tokens) {
    const kind = kindOf(token);
    const last = runs.at(-1);
    if (last?.kind === kind) last.text += visibleText(token.text);
    else runs.push({ kind, text: visibleText(token.text) });
  }
  const ends = colours ? { ...COLOURS, ...(expert > 0 && { low: [colourOf(expert), '\u001b[0m'] }) } : MARKS;
  // a terminal would fill the rest of the line with the colour
  return runs
    .map(({ kind, text }) => text.replace(/[^\r\n]+/g, (line) => `${ends[kind][0]}${line}${ends[kind][1]}`))
    .join('');
}

const kindOf = ({ counts, high }: AuditedToken): Kind => (!counts || high === null ? 'other' : high ? 'high' : 'low');

const colourOf = (expert: number): string => `\u001b[${EXPERTS[(expert - 1) % EXPERTS.length]}m`;

/** Marks stand in colours, too: a number is told from another where colours are not. */
function around(expert: number, others: boolean, text: string, colours: boolean): string {
  const number = Array.from(String(expert), (digit) => SUPERSCRIPTS[Number(digit)]).join('');
  const [on, off] = colours ? [colourOf(expert), '\u001b[0m'] : ['', ''];
  return `${on}⟨${number}${others ? '⁺' : ''}${off}${text}${on}⟩${off}`;
}
