import type { TokenizerSpec } from '../../checkpoint/types.ts';
import { EspalierError } from '../../errors.ts';
import { BudgetError } from '../template/budget.ts';
import { CallerValues } from '../template/caller-values.ts';
import { Objection } from '../template/globals.ts';
import { readTemplate, type Template } from '../template/template.ts';
import { Str } from '../template/text.ts';
import { Dict, List, type Value } from '../template/values.ts';
import type { ChatOptions } from './options.ts';

/** A part of a message whose content is a list: `{ type: 'text', text: '…' }`. */
export interface ChatContentPart {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface ChatMessage {
  /** Usually `system`, `user`, `assistant` or `tool`; templates decide which they take. */
  readonly role: string;
  /** May be null or left out where the message has something else, such as `tool_calls`. */
  readonly content?: string | null | readonly (ChatContentPart | string)[];
  /** What else the template reads: `tool_calls`, `reasoning_content`, `name` and so on. Fields that are null are left out. */
  readonly [field: string]: unknown;
}

/** A stretch of a rendered conversation. */
export interface ChatSegment {
  readonly text: string;
  /** Whether it came from a message, a tool, a document or a variable, and not from the template. */
  readonly fromCaller: boolean;
}

/**
 * Writes a conversation as the text that the model was trained on. Encode it without adding special tokens: the template
 * has written them.
 *
 * The text is the one that Hugging Face transformers gives (`apply_chat_template`), or the template is refused. The template sees what
 * it sees there: `messages`, `tools` and `documents` (null unless given), `add_generation_prompt`, the special tokens,
 * `raise_exception` and `strftime_now`. The time and the memory that it may take grow with the conversation.
 *
 * @throws E_ARGUMENT when a message lacks a role or a content, something is given that a template has no value for, or the model has no
 *   template of the name that is asked for
 * @throws E_TEMPLATE_INVALID when the model has no template, or the template cannot be read, fails, objects, or exceeds its budget
 */
export function renderChat(spec: TokenizerSpec, messages: readonly ChatMessage[], options: ChatOptions = {}): string {
  return render(spec, messages, options).text;
}

/** As `renderChat`, with what came from the caller told from what the template wrote. The segments joined are its text. */
export function renderChatSegments(
  spec: TokenizerSpec,
  messages: readonly ChatMessage[],
  options: ChatOptions = {},
): ChatSegment[] {
  const { text, spans } = render(spec, messages, options);
  const segments: ChatSegment[] = [];
  let place = 0;
  const add = (end: number, fromCaller: boolean) => {
    if (end > place) segments.push({ text: text.slice(place, end), fromCaller });
    place = end;
  };
  for (let i = 0; i < spans.length; i += 2) {
    add(spans[i]!, false);
    add(spans[i + 1]!, true);
  }
  add(text.length, false);
  return segments;
}

function render(spec: TokenizerSpec, messages: readonly ChatMessage[], options: ChatOptions): Str {
  checkMessages(messages);
  const values = new CallerValues(options.specialTokensInContent !== true);
  const names = namesOf(spec, messages, options, values);
  const template = compile(spec, sourceOf(spec, options));
  try {
    return template.render(names, values, options.now ?? new Date());
  } catch (cause) {
    if (cause instanceof Objection) {
      throw new EspalierError(
        'E_TEMPLATE_INVALID',
        `The chat template refuses this conversation: ${cause.message}`,
        'Change the roles or their order to what the model was trained on.',
        { cause },
      );
    }
    throw failure('The chat template fails', cause);
  }
}

function checkMessages(messages: readonly ChatMessage[]): void {
  const isContent = (message: ChatMessage) => {
    const { content } = message;
    if (typeof content === 'string') return true;
    if (Array.isArray(content)) {
      return content.every((part) => typeof part === 'string' || (typeof part === 'object' && part !== null));
    }
    const others = Object.entries(message).filter(([key, value]) => key !== 'role' && (value ?? null) !== null);
    return (content ?? null) === null && others.length > 0;
  };
  if (!Array.isArray(messages) || !messages.every((m) => typeof m?.role === 'string' && isContent(m))) {
    throw new EspalierError(
      'E_ARGUMENT',
      'A conversation is a list of messages, each with a role and a content.',
      'Pass [{ role: "user", content: "…" }]. A content is a text or a list of parts; it may be missing beside tool_calls.',
    );
  }
}

/** Tokens that transformers hands to the template by name. A variable of such a name is the template's, not text of a user. */
const TOKEN_NAME = /^(bos|eos|unk|sep|pad|cls|mask)_token$/;

function namesOf(
  spec: TokenizerSpec,
  messages: readonly ChatMessage[],
  options: ChatOptions,
  values: CallerValues,
): Map<string, Value> {
  const names = new Map<string, Value>([
    ['tools', objects(options.tools, 'tools', values)],
    ['documents', objects(options.documents, 'documents', values)],
  ]);
  for (const [name, text] of Object.entries(namedTokens(spec, options))) names.set(name, values.text(text, false));
  for (const [name, value] of Object.entries(options.variables ?? {})) {
    if (value === undefined) continue;
    const token = typeof value === 'string' && TOKEN_NAME.test(name);
    names.set(name, token ? values.text(value, false) : values.value(value, `The variable ${name}`));
  }
  names.set('messages', new List(messages.map((message, i) => messageValue(message, `messages[${i}]`, values))));
  names.set('add_generation_prompt', options.addGenerationPrompt ?? true);
  return names;
}

function objects(value: readonly object[] | null | undefined, name: string, values: CallerValues): Value {
  if (value === null || value === undefined) return null;
  if (
    !Array.isArray(value) ||
    !value.every((item) => typeof item === 'object' && item !== null && !Array.isArray(item))
  ) {
    throw new EspalierError(
      'E_ARGUMENT',
      `${name} is not a list of objects.`,
      `Pass ${name}: [{ … }], or leave it out.`,
    );
  }
  return values.value(value, name);
}

/** A role of this form cannot hold a control token; templates build control tokens from roles (`<|` + role + `|>`). */
const PLAIN_ROLE = /^[\w .-]*$/;
/** Names under which messages carry their reasoning. The first is the one that templates read. */
const REASONING = ['reasoning_content', 'thinking', 'reasoning'];

/** A message as transformers hands it on: without fields that are null, its reasoning under the names that templates read. */
function messageValue(message: ChatMessage, where: string, values: CallerValues): Dict {
  const all = values.value(message, where) as Dict;
  const dict = new Dict();
  const present = [...all.entries.values()].filter(([, value]) => value !== null);
  const reasoning = REASONING.map((name) => all.named(name)).find((value) => value !== undefined && value !== null);
  // before the other fields, as transformers puts it: a template may print the message whole
  if (reasoning !== undefined) dict.set(null, new Str('thinking'), reasoning);
  for (const [key, value] of present) dict.set(null, key, value);
  if (reasoning !== undefined) dict.set(null, new Str('reasoning_content'), reasoning);
  if (PLAIN_ROLE.test(message.role)) dict.set(null, new Str('role'), new Str(message.role));
  return dict;
}

/** The template that transformers would choose. @throws E_ARGUMENT, E_TEMPLATE_INVALID */
function sourceOf({ chatTemplate, namedTemplates }: TokenizerSpec, { template, tools }: ChatOptions): string {
  const known = [...(chatTemplate === null ? [] : ['default']), ...(namedTemplates?.keys() ?? [])];
  if (template !== undefined) {
    const named = template === 'default' ? chatTemplate : namedTemplates?.get(template);
    if (typeof named === 'string') return named;
    throw new EspalierError(
      'E_ARGUMENT',
      `The model has no chat template called ${JSON.stringify(template)}.`,
      known.length === 0 ? 'It has none at all.' : `It has ${known.join(', ')}.`,
    );
  }
  const forTools = (tools ?? null) === null ? undefined : namedTemplates?.get('tool_use');
  const chosen = forTools ?? chatTemplate;
  if (chosen !== null) return chosen;
  throw new EspalierError(
    'E_TEMPLATE_INVALID',
    known.length === 0
      ? 'The model has no chat template.'
      : 'The model has chat templates, and none is the default one.',
    known.length === 0
      ? 'Give it the whole prompt as text, or a model that was trained for conversation.'
      : `Choose one by the option template: ${known.join(', ')}.`,
  );
}

const compiled = new WeakMap<TokenizerSpec, Map<string, Template>>();

function compile(spec: TokenizerSpec, source: string): Template {
  const known = compiled.get(spec) ?? new Map<string, Template>();
  compiled.set(spec, known);
  let template = known.get(source);
  if (template !== undefined) return template;
  try {
    template = readTemplate(source);
  } catch (cause) {
    throw failure('The chat template cannot be read', cause);
  }
  known.set(source, template);
  return template;
}

function failure(what: string, cause: unknown): EspalierError {
  // the stack of the host ended before a bound of ours did
  const message = cause instanceof RangeError ? 'it is nested too deeply' : (cause as Error).message.replace(/\.$/, '');
  const hint =
    cause instanceof BudgetError
      ? 'A published template needs a small part of its budget: this one may never end.'
      : 'Use the template that was published with the model.';
  return new EspalierError('E_TEMPLATE_INVALID', `${what}: ${message}.`, hint, { cause });
}

/** `bos_token`, `eos_token` and the like, as far as the configuration names them. */
function namedTokens(spec: TokenizerSpec, options: ChatOptions): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const [key, value] of Object.entries(spec.tokenizerConfig as Record<string, unknown>)) {
    if (!/^[a-z]+_token$/.test(key)) continue;
    const content = typeof value === 'object' ? (value as { content?: unknown } | null)?.content : value;
    if (typeof content === 'string') tokens[key] = content;
  }
  if (options.bosToken !== undefined) tokens['bos_token'] = options.bosToken;
  if (options.eosToken !== undefined) tokens['eos_token'] = options.eosToken;
  return tokens;
}
