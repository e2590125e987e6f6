import { EspalierError } from '../../errors.ts';
import type { ChatMessage } from '../../model/text/chat.ts';
import { sameInput } from '../splits.ts';
import type { TrainingDataOptions } from './options.ts';
import { invalid } from './records.ts';
import { columnNames, type Row } from './rows.ts';
import type { ChatExample, PairExample, TrainingColumn } from './types.ts';

/** What the rows of a data set are: all of them the same. */
type Shape = 'messages' | 'pair' | 'parallel' | 'text';

/** An example as a row says it; a text whole. */
export type RowExample = PairExample | ChatExample | { readonly kind: 'text'; readonly text: string };

/** What an example asks. */
export function askedBy(example: RowExample): string {
  switch (example.kind) {
    case 'pair':
      return example.prompt;
    case 'text':
      return example.text;
    case 'chat': {
      const answer = example.messages.findIndex(({ role }) => role === 'assistant');
      return JSON.stringify(example.messages.slice(0, answer).map(({ role, content }) => [role, content]));
    }
    default:
      return example satisfies never;
  }
}

/** What two examples share that must not be on both sides. */
export function askedKey(example: RowExample): string {
  if (example.kind !== 'chat') return sameInput(askedBy(example));
  const answer = example.messages.findIndex(({ role }) => role === 'assistant');
  return turnsKey(example.messages.slice(0, answer));
}

/** Two conversations with the same key count as one: each of their texts is looked at by itself, since JSON writes line ends as letters. */
export function turnsKey(messages: readonly ChatMessage[]): string {
  return JSON.stringify(
    messages.map(({ role, content }) => [role, content]),
    (_, value: unknown) => (typeof value === 'string' ? sameInput(value) : value),
  );
}

/** Where a row stands. */
export interface Place {
  readonly name: string;
  readonly line: number;
}

const HINT =
  'Give prompt and answer, messages, text, or source, target and language; other names of columns are said by `columns`, or by templates of prompt and answer.';

/** Makes examples of rows. What they are the first row says; a later one of another kind is refused. */
export class ExampleMaker {
  readonly #names: Readonly<Record<TrainingColumn, string>>;
  readonly #options: TrainingDataOptions;
  readonly #templates = new Map<string, readonly Part[]>();
  /** How often a template has one column, and the bytes that it adds. */
  readonly #times: number;
  readonly #added: number;
  #shape: Shape | null = null;

  /** @throws E_ARGUMENT for templates and columns that say nothing */
  constructor(options: TrainingDataOptions) {
    this.#names = columnNames(options.columns ?? {});
    this.#options = options;
    const { prompt = '', answer = '', language = '', sourceLanguage = '' } = options;
    const parts = [...templateParts(prompt), ...templateParts(answer)];
    const columns = parts.flatMap((part) => (typeof part === 'string' ? [] : [part.column]));
    this.#times = Math.max(1, ...columns.map((column) => columns.filter((other) => other === column).length));
    const texts = [
      ...parts.filter((part) => typeof part === 'string'),
      ...[language, sourceLanguage].map((own) => own.repeat(this.#times)),
    ];
    this.#added = new TextEncoder().encode(texts.join('')).length;
    if (options.prompt !== undefined && options.answer !== undefined && columnsIn(options.answer).length === 0) {
      throw new EspalierError(
        'E_ARGUMENT',
        'The template of answers names no column.',
        'Write one in braces: {answer}.',
      );
    }
  }

  /** Most bytes of the texts of an example from a record of so many: templates add to what stands there, and may repeat it. */
  mostBytes(record: number): number {
    return this.#times * record + this.#added;
  }

  /** @throws E_DATA_INVALID with file and line */
  make(row: Row, place: Place): RowExample {
    this.#shape ??= this.#shapeOf(row, place);
    const shape = this.#shape;
    switch (shape) {
      case 'messages':
        return this.#conversation(row, place);
      case 'text':
        return { kind: 'text', text: filledText(row(this.#names.text), this.#names.text, place) };
      case 'pair':
        return this.#pair(row, place, '{prompt}', '{answer}');
      case 'parallel':
        return this.#options.chat
          ? this.#pair(row, place, 'Translate from {sourceLanguage} to {language}: {source}', '{target}')
          : this.#pair(row, place, '{sourceLanguage}: {source}\n{language}:', ' {target}');
      default:
        return shape satisfies never;
    }
  }

  #shapeOf(row: Row, { name, line }: Place): Shape {
    const has = (column: TrainingColumn) => row(this.#names[column]) !== undefined;
    const { prompt, answer } = this.#options;
    if (prompt !== undefined && answer !== undefined) return 'pair';
    if (has('messages')) return 'messages';
    if (has('source') && has('target')) return 'parallel';
    if ((has('prompt') || prompt !== undefined) && (has('answer') || answer !== undefined)) return 'pair';
    if (has('text')) return 'text';
    throw invalid(
      name,
      line,
      'there is nothing to learn from: neither prompt and answer nor messages nor a text',
      HINT,
    );
  }

  #pair(row: Row, place: Place, prompt: string, answer: string): PairExample | ChatExample {
    const given = this.#fill(this.#options.prompt ?? prompt, row, place);
    const wanted = this.#fill(this.#options.answer ?? answer, row, place);
    if (wanted.trim() === '')
      throw invalid(place.name, place.line, 'the answer is empty', 'Remove the line, or fill it in.');
    if (!this.#options.chat) return { kind: 'pair', prompt: given, answer: wanted };
    if (given.trim() === '')
      throw invalid(place.name, place.line, 'the prompt is empty', 'Remove the line, or fill it in.');
    const messages = [
      { role: 'user', content: given },
      { role: 'assistant', content: wanted },
    ];
    return { kind: 'chat', messages };
  }

  /** A template with the texts of its columns. */
  #fill(template: string, row: Row, place: Place): string {
    let parts = this.#templates.get(template);
    if (parts === undefined) this.#templates.set(template, (parts = templateParts(template)));
    return parts.map((part) => (typeof part === 'string' ? part : this.#column(part.column, row, place))).join('');
  }

  #column(column: string, row: Row, { name, line }: Place): string {
    const { language, sourceLanguage = 'English' } = this.#options;
    const value =
      row(Object.hasOwn(this.#names, column) ? this.#names[column as TrainingColumn] : column) ??
      (column === 'language' ? language : column === 'sourceLanguage' ? sourceLanguage : undefined);
    if (value === undefined) throw invalid(name, line, `there is no ${column}`, HINT);
    if (typeof value !== 'string')
      throw invalid(name, line, `${column} is no text`, 'Write it between quotation marks.');
    // a prompt may be empty; a part of it that a template asks for may not
    if (value.trim() === '' && column !== 'prompt') {
      throw invalid(
        name,
        line,
        `${column === 'answer' ? 'the answer' : column} is empty`,
        'Remove the line, or fill it in.',
      );
    }
    return value;
  }

  #conversation(row: Row, place: Place): ChatExample {
    const { name, line } = place;
    const hint = 'A line is {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}.';
    let messages = row(this.#names.messages);
    if (typeof messages === 'string') messages = parsed(messages, this.#names.messages, place);
    if (!Array.isArray(messages) || messages.length === 0) throw invalid(name, line, 'messages are no list', hint);
    for (const [i, message] of messages.entries()) {
      const { role, content } = (
        typeof message === 'object' && message !== null ? message : {}
      ) as Partial<ChatMessage>;
      if (typeof role !== 'string' || role === '') throw invalid(name, line, `message ${i + 1} has no role`, hint);
      const others = Object.keys(message as object).some((key) => key !== 'role' && key !== 'content');
      const isEmpty =
        content === undefined || content === null || (typeof content === 'string' && content.trim() === '');
      if (typeof content !== 'string' && !Array.isArray(content) && !(isEmpty && others)) {
        throw invalid(name, line, `message ${i + 1} has no content`, hint);
      }
      if (role === 'assistant' && isEmpty && !others) {
        throw invalid(name, line, `message ${i + 1}, an answer, is empty`, 'Remove the line, or fill it in.');
      }
    }
    if (!(messages as ChatMessage[]).some(({ role }) => role === 'assistant')) {
      throw invalid(name, line, 'no message is from the assistant', 'It is the assistant’s turns that are learned.');
    }
    let tools = row(this.#names.tools);
    if (typeof tools === 'string' && tools !== '') tools = parsed(tools, this.#names.tools, place);
    if (tools === undefined || tools === '') return { kind: 'chat', messages };
    if (!Array.isArray(tools)) throw invalid(name, line, 'tools are no list', 'Give a list of JSON schemas.');
    return { kind: 'chat', messages, tools };
  }
}

function filledText(value: unknown, column: string, { name, line }: Place): string {
  if (value === undefined) throw invalid(name, line, `there is no ${column}`, HINT);
  if (typeof value === 'string' && value.trim() !== '') return value;
  throw invalid(
    name,
    line,
    `${column} is ${typeof value === 'string' ? 'empty' : 'no text'}`,
    'Remove the line, or fill it in.',
  );
}

/** JSON in a cell of a table. */
function parsed(text: string, column: string, { name, line }: Place): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalid(name, line, `${column} is not JSON`, 'A cell with messages is JSON.', cause);
  }
}

/** Of a template: a text, or a column whose text stands there. */
export type Part = string | { readonly column: string };

/** A template's texts and columns; `{{` and `}}` are braces. @throws E_ARGUMENT */
export function templateParts(template: string): Part[] {
  return Array.from(template.matchAll(/\{\{|\}\}|\{([^{}]+)\}|[{}]|[^{}]+/g), ([all, column]) => {
    if (all === '{' || all === '}') {
      throw new EspalierError(
        'E_ARGUMENT',
        `${JSON.stringify(template.slice(0, 60))} has a brace that is not closed, or was not opened.`,
        'Write {column}, and {{ or }} for a brace.',
      );
    }
    if (column !== undefined) return { column };
    return all === '{{' ? '{' : all === '}}' ? '}' : all;
  });
}

const columnsIn = (template: string): Part[] => templateParts(template).filter((part) => typeof part !== 'string');
