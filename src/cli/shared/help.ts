import type { ArgumentSpecs, Command } from './command.ts';
import { displayWidth } from './format.ts';

/** The help of a command, in plain letters, for a terminal of so many columns. */
export async function helpOf(command: Command, path: string, columns: number): Promise<string> {
  const width = Math.max(20, Math.min(100, columns || 80)) - 1;
  const { args = {}, sections = {}, subCommands } = command;
  const parts = [wrap(`${path}: ${lowered(command.meta.description)}`, width, '  ').join('\n')];
  if (subCommands) {
    parts.push(`Usage: ${path} COMMAND …`);
    const rows: [string, string][] = [];
    for (const [name, found] of Object.entries(subCommands)) {
      const { meta } = typeof found === 'function' ? await found() : found;
      rows.push([name, meta.description]);
    }
    parts.push(
      section('Commands', rows, width),
      wrap(`${path} COMMAND --help says what a command takes.`, width, '').join('\n'),
    );
  } else {
    const positionals = Object.entries(args).filter(([, spec]) => spec.type === 'positional');
    const words = positionals.map(([name]) => name.toUpperCase());
    for (const [name, spec] of Object.entries(args)) {
      if (spec.type === 'string' && (spec.required || spec.unless !== undefined))
        words.push(`${spec.alias ? `-${spec.alias}` : `--${name}`} ${spec.value ?? 'VALUE'}`);
    }
    parts.push(wrap(`Usage: ${path} ${[...words, '[options]'].join(' ')}`, width, '  ').join('\n'));
    if (positionals.length > 0) {
      parts.push(
        section(
          'Arguments',
          positionals.map(([name, spec]) => [name.toUpperCase(), spec.description]),
          width,
        ),
      );
    }
    // one width for all, so that what they mean stands in one column
    const first = Math.max(...optionRows(args).map(([name]) => displayWidth(name)));
    for (const [title, names] of Object.entries(sections)) {
      const own = names.map((name) => [name, args[name]!] as const);
      parts.push(section(title, flagRows(Object.fromEntries(own)), width, first));
    }
    const named = new Set(Object.values(sections).flat());
    const rest = Object.entries(args).filter(([name]) => !named.has(name));
    parts.push(section('Options', optionRows(Object.fromEntries(rest)), width, first));
  }
  return `${parts.join('\n\n')}\n`;
}

/** The flags of a command, and what they mean. */
export function optionRows(args: ArgumentSpecs): [string, string][] {
  return [...flagRows(args), ['-h, --help', 'This text']];
}

function flagRows(args: ArgumentSpecs): [string, string][] {
  const rows: [string, string][] = [];
  for (const [name, spec] of Object.entries(args)) {
    if (spec.type === 'positional') continue;
    const flag = `${spec.alias ? `-${spec.alias}, ` : '    '}--${name}`;
    if (spec.type === 'boolean') {
      // one that is on by itself is there to be turned off
      if (spec.default !== true) rows.push([flag, spec.description]);
      if (spec.negative !== undefined) rows.push([`    --no-${name}`, spec.negative]);
      continue;
    }
    const preset = spec.default ?? spec.rule?.default;
    const notes = [
      ...(spec.required ? ['required'] : spec.unless === undefined ? [] : [`required, but with --${spec.unless}`]),
      ...(preset === undefined ? [] : [`default ${String(preset).replaceAll('\n', '\\n')}`]),
      ...(spec.many ? ['may be given several times'] : []),
    ];
    rows.push([
      `${flag} ${spec.value ?? 'VALUE'}`,
      `${spec.description}${notes.length ? ` (${notes.join('; ')})` : ''}`,
    ]);
  }
  return rows;
}

/** Two columns; in a narrow terminal the second stands below the first. */
function section(
  title: string,
  rows: readonly (readonly [string, string])[],
  width: number,
  first = Math.max(...rows.map(([name]) => displayWidth(name))),
): string {
  const beside = width - first - 4 >= 28;
  const lines = rows.flatMap(([name, about]) => {
    if (!beside) return [`  ${name}`, ...wrap(about, width, '          ', '          ')];
    const indent = ' '.repeat(first + 4);
    const [head = '', ...more] = wrap(about, width, indent, indent);
    return [`  ${name}${' '.repeat(first - displayWidth(name))}  ${head.trimStart()}`, ...more];
  });
  return [`${title}:`, ...lines].join('\n');
}

/** Lines of at most `width` columns, where words allow that; also between the members of `a,b,c`. */
export function wrap(text: string, width: number, indent: string, start = ''): string[] {
  const lines: string[] = [];
  let line = start;
  for (const piece of text.split(/(?<=[ ,])(?! )/)) {
    if (line.trim() !== '' && displayWidth((line + piece).trimEnd()) > width) {
      lines.push(line.trimEnd());
      line = indent;
    }
    line += piece;
  }
  return [...lines, line.trimEnd()];
}

/** A sentence as it goes on behind a colon: JSON stays JSON. */
export const lowered = (sentence: string): string =>
  /^\p{Lu}{2}/u.test(sentence) ? sentence : sentence.charAt(0).toLowerCase() + sentence.slice(1);
