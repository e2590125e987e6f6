import type { AuditedText, AuditedToken, EntropyAudit } from '../../prune/entropy/audit.ts';
import { bimodalityStatement, splitStatement } from '../../prune/entropy/statement.ts';
import { visibleText } from '../../prune/entropy/visible.ts';

type Kind = 'high' | 'low' | 'other';

/** Around a run of tokens of one kind: in colours, and in marks where there are none. */
const COLOURS = { high: ['\u001b[30;43m', '\u001b[0m'], low: ['', ''], other: ['\u001b[2m', '\u001b[0m'] } as const;
const MARKS = { high: ['⟦', '⟧'], low: ['', ''], other: ['', ''] } as const;
const BARS = ' ▁▂▃▄▅▆▇█';

/** What an audit found, for a terminal or a file. */
export function auditLines({ texts, split, distribution }: EntropyAudit, colours: boolean): string {
  const { counts, width } = distribution.histogram;
  const tallest = Math.max(...counts);
  // a bar of its own for what is not nothing
  const bars = counts.map((count) => BARS[count === 0 ? 0 : Math.max(1, Math.round((8 * count) / tallest))]);
  const legend = colours
    ? `${COLOURS.high.join('high')}  low  ${COLOURS.other.join('not counted')}`
    : `${MARKS.high.join('high')}  low`;
  return [
    ...texts.flatMap((text) => [
      ...(text.name === null ? [] : [`${visibleText(text.name)}:`]),
      marked(text, colours),
      '',
    ]),
    legend,
    splitStatement(split),
    `0 |${bars.join('')}| ${(width * counts.length).toFixed(2)}`,
    bimodalityStatement(distribution),
    '',
  ].join('\n');
}

function marked({ tokens }: AuditedText, colours: boolean): string {
  const around = colours ? COLOURS : MARKS;
  const runs: { kind: Kind; text: string }[] = [];
  for (const token of tokens) {
    const kind = kindOf(token);
    const last = runs.at(-1);
    if (last?.kind === kind) last.text += visibleText(token.text);
    else runs.push({ kind, text: visibleText(token.text) });
  }
  // a terminal would fill the rest of the line with the colour
  return runs
    .map(({ kind, text }) => text.replace(/[^\r\n]+/g, (line) => `${around[kind][0]}${line}${around[kind][1]}`))
    .join('');
}

const kindOf = ({ counts, high }: AuditedToken): Kind => (!counts || high === null ? 'other' : high ? 'high' : 'low');
