import { EspalierError } from '../errors.ts';
import { shown } from '../options/shown.ts';
import { checkedText, refused } from '../options/texts.ts';
import type { DataFormat, Example } from './format.ts';
import { dataFormat } from './options.ts';

/**
 * How examples and queries are written into a prompt. A shot is `INPUT x LF OUTPUT y LF SEPARATOR`, a query the same up to and with
 * OUTPUT, with no space behind it: the answer's first token begins with that space.
 */
export interface Template {
  /** Before the input, such as `Question:`. */
  readonly input: string;
  /** Before the output, such as `Type:`. */
  readonly output: string;
  /** Closes a shot. Default of all templates: `==` and a line end, as in Parallel Context Windows. */
  readonly separator: string;
}

const SEPARATOR = '==\n';
const template = (input: string, output: string): Template => ({ input, output, separator: SEPARATOR });

/** Templates by name: those of the data sets as published suites have them (spec 7.1), and of kinds of tasks (spec 1.7). */
export const TEMPLATES = {
  trec: template('Question:', 'Type:'),
  banking77: template('query:', 'intent:'),
  clinc150: template('utterance:', 'intent:'),
  hwu64: template('utterance:', 'intent:'),
  sst2: template('Review:', 'Sentiment:'),
  qa: template('Question:', 'Answer:'),
  math: template('Problem:', 'Solution:'),
  translation: template('Source:', 'Translation:'),
  summary: template('Article:', 'Summary:'),
  code: template('Task:', 'Code:'),
  plain: template('Input:', 'Output:'),
} as const satisfies Readonly<Record<string, Template>>;

export type TemplateName = keyof typeof TEMPLATES;

/** The template of a format's data. */
export function templateOf(format: DataFormat): Template {
  dataFormat.check(format, 'The format');
  if (format === 'jsonl') return TEMPLATES.plain;
  if (format === 'gsm8k' || format === 'mgsm') return TEMPLATES.qa;
  return TEMPLATES[format === 'trec-fine' ? 'trec' : format];
}

/**
 * A template by name, or `INPUT|OUTPUT` or `INPUT|OUTPUT|SEPARATOR` with `\n` for a line end.
 * @throws E_ARGUMENT
 */
export function namedTemplate(text: string): Template {
  checkedText(text, 'The template');
  if (Object.hasOwn(TEMPLATES, text)) return TEMPLATES[text as TemplateName];
  const parts = text.split('|').map((part) => part.replaceAll('\\n', '\n'));
  const [input, output, separator = SEPARATOR] = parts;
  const filled = (part: string | undefined) => part !== undefined && part.trim() !== '' && part === part.trimEnd();
  if (parts.length > 3 || !filled(input) || !filled(output)) {
    throw new EspalierError(
      'E_ARGUMENT',
      `${shown(text)} is no template.`,
      `Give one of ${Object.keys(TEMPLATES).join(', ')}, or two texts with | between them ("Question:|Type:").`,
    );
  }
  return { input: input!, output: output!, separator };
}

/** A label as words: underscores become spaces. */
export function verbalise(label: string): string {
  return label.replaceAll('_', ' ').replace(/\s+/g, ' ').trim();
}

/** An example as text, with its separator: tokenise it by itself. */
export function renderShot(template: Template, example: Example): string {
  const { input, output, separator } = checkedTemplate(template);
  checkedText(example?.input, 'The input of the example');
  checkedText(example.output, 'The output of the example');
  return `${input} ${example.input}\n${output} ${example.output}\n${separator}`;
}

/** What stands behind the shots, up to where the answer begins. */
export function renderQuery(template: Template, query: string): string {
  const { input, output } = checkedTemplate(template);
  checkedText(query, 'The query');
  return `${input} ${query}\n${output}`;
}

/** @throws E_ARGUMENT */
export function checkedTemplate(template: unknown): Template {
  const { input, output, separator } = (template ?? {}) as Partial<Template>;
  if (typeof input === 'string' && typeof output === 'string' && typeof separator === 'string')
    return template as Template;
  throw refused(`The template is ${shown(template)}.`, 'Give one of TEMPLATES, or what namedTemplate() makes.');
}
