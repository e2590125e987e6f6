import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import type { TokenizerSpec } from '../checkpoint/types.ts';
import { EspalierError } from '../errors.ts';

export interface ChatMessage {
  /** Usually `system`, `user` or `assistant`; templates decide which they take. */
  readonly role: string;
  readonly content: string;
}

export interface ChatOptions {
  /** Whether the text ends with the opening of the assistant's turn, so that the model answers. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** Default: the tokens that the tokenizer's configuration names. */
  readonly bosToken?: string;
  readonly eosToken?: string;
  /** Further variables of the template, such as `{ enable_thinking: false }`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** The moment that `strftime_now` tells. Default: now, in local time. */
  readonly now?: Date;
}

/**
 * Writes a conversation as the text that the model was trained on. Encode it without adding special tokens: the template
 * has written them.
 *
 * The template sees what Hugging Face gives it: `messages`, `tools` and `documents` (null unless given among the
 * variables), `add_generation_prompt`, the special tokens, `raise_exception` and `strftime_now`.
 *
 * @throws E_ARGUMENT when a message lacks a role or a content
 * @throws E_TEMPLATE_INVALID when the model has no template, or the template cannot be read, fails or objects
 */
export function renderChat(spec: TokenizerSpec, messages: readonly ChatMessage[], options: ChatOptions = {}): string {
  if (
    !Array.isArray(messages) ||
    !messages.every((m) => typeof m?.role === 'string' && typeof m.content === 'string')
  ) {
    throw new EspalierError(
      'E_ARGUMENT',
      'A conversation is a list of messages, each with a role and a content.',
      'Pass [{ role: "user", content: "…" }].',
    );
  }
  const template = compile(spec);
  let objection: string | null = null;
  // not the library's Template: it declares a strftime_now that speaks the host's language and cannot be replaced
  const environment = new Environment();
  try {
    const variables = {
      ...constants,
      tools: null,
      documents: null,
      ...namedTokens(spec, options),
      ...options.variables,
      messages,
      add_generation_prompt: options.addGenerationPrompt ?? true,
      strftime_now: (format: string) => formatTime(options.now ?? new Date(), format),
      raise_exception: (message: unknown) => {
        objection = String(message);
        throw new Error(objection);
      },
    };
    for (const [name, value] of Object.entries(variables)) environment.set(name, value);
    return String((new Interpreter(environment).run(template) as { value: unknown }).value);
  } catch (cause) {
    throw objection === null
      ? failure(`The chat template fails: ${(cause as Error).message}.`, cause)
      : new EspalierError(
          'E_TEMPLATE_INVALID',
          `The chat template refuses this conversation: ${objection}`,
          'Change the roles or their order to what the model was trained on.',
          { cause },
        );
  }
}

const constants = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range: (start: number, stop?: number, step = 1): number[] => {
    const [from, to] = stop === undefined ? [0, start] : [start, stop];
    return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
  },
};

type Program = ReturnType<typeof parse>;

const compiled = new WeakMap<TokenizerSpec, Program>();

function compile(spec: TokenizerSpec): Program {
  let template = compiled.get(spec);
  if (template !== undefined) return template;
  if (spec.chatTemplate === null) {
    throw new EspalierError(
      'E_TEMPLATE_INVALID',
      'The model has no chat template.',
      'Give it the whole prompt as text, or a model that was trained for conversation.',
    );
  }
  try {
    template = parse(tokenize(spec.chatTemplate, { lstrip_blocks: true, trim_blocks: true }));
  } catch (cause) {
    throw failure(`The chat template cannot be read: ${(cause as Error).message}.`, cause);
  }
  compiled.set(spec, template);
  return template;
}

function failure(message: string, cause: unknown): EspalierError {
  return new EspalierError('E_TEMPLATE_INVALID', message, 'Use the template that was published with the model.', {
    cause,
  });
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

const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/** Python's `strftime` in English, whatever the host's language: a prompt must not depend on it. */
function formatTime(time: Date, format: string): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const parts: Record<string, () => string> = {
    Y: () => String(time.getFullYear()),
    y: () => two(time.getFullYear() % 100),
    m: () => two(time.getMonth() + 1),
    d: () => two(time.getDate()),
    B: () => MONTHS[time.getMonth()]!,
    b: () => MONTHS[time.getMonth()]!.slice(0, 3),
    A: () => DAYS[time.getDay()]!,
    a: () => DAYS[time.getDay()]!.slice(0, 3),
    H: () => two(time.getHours()),
    I: () => two(time.getHours() % 12 || 12),
    M: () => two(time.getMinutes()),
    S: () => two(time.getSeconds()),
    p: () => (time.getHours() < 12 ? 'AM' : 'PM'),
    '%': () => '%',
  };
  return format.replace(/%([A-Za-z%])/g, (text, letter: string) => parts[letter]?.() ?? text);
}
