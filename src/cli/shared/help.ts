import type { ArgumentSpecs, Command } from './command.ts';
import { displayWidth } from './format.ts';

/** The help of a command, in plain letters, for a terminal of so many columns. */
export async function helpOf(command: Command, path: string, columns: number): Promise<string> {
  const width = Math.max(20, Math.min(100, columns || 80)) - 1;
  const { args = {}, subCommands } = command;
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
      if (spec.type === 'string' && spec.required)
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
    parts.push(section('Options', optionRows(args), width));
  }
  return `${parts.join('\n\n')}\n`;
}

/** The flags of a command, and what they mean. */
export function optionRows(args: ArgumentSpecs): [string, string][] {
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
      ...(spec.required ? ['required'] : []),
      ...(preset === undefined ? [] : [`default ${String(preset)}`]),
      ...(spec.many ? ['may be given several times'] : []),
    ];
    rows.push([
      `${flag} ${spec.value ?? 'VALUE'}`,
      `${spec.description}${notes.length ? ` (${notes.join('; ')})` : ''}`,
    ]);
  }
  rows.push(['-h, --help', 'This text']);
  return rows;
}

/** Two columns; in a narrow terminal the second stands below the first. */
function section(title: string, rows: readonly (readonly [string, string])[], width: number): string {
  const first = Math.max(...rows.map(([name]) => displayWidth(name)));
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

const lowered = (sentence: string): string => sentence.charAt(0).toLowerCase() + sentence.slice(1);
