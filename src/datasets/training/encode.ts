import { EspalierError } from '../../errors.ts';
import { checked, filled } from '../../options/check.ts';
import { encodeConversation } from './encode-chat.ts';
import { type SequenceOptions, sequenceOptions } from './options.ts';
import type { Marked, PairExample, PlacedExample, SequenceModel, TextExample, TrainingSequence } from './types.ts';

/**
 * Makes sequences of examples.
 *
 * - A prompt is encoded as `Model.encode` does, with a begin-of-text token where the tokenizer has one, and its answer as it goes on
 *   from the prompt: nothing is put between them. The model's end token stands behind the answer and is learned.
 * - A conversation is written by the model's chat template; the assistant's turns are learned, their end token included. A template that
 *   rewrites earlier turns makes a sequence of each turn of the assistant.
 * - A text is cut into blocks, and every token is learned: a block begins with the last token of the one before.
 */
export class SequenceEncoder {
  /** Most tokens of a sequence that go through the model. */
  readonly maxTokens: number;
  readonly #model: SequenceModel;
  readonly #options: Required<Omit<SequenceOptions, 'maxTokens'>>;
  readonly #endId: number | null;

  /** @throws E_ARGUMENT for wrong options, more tokens than the model's context has, and `end` where the model names no end token */
  constructor(model: SequenceModel, options: SequenceOptions = {}) {
    const given = filled(sequenceOptions, checked<SequenceOptions>(sequenceOptions, options, 'SequenceEncoder'));
    const { maxPositions } = model.config;
    this.maxTokens = given.maxTokens ?? maxPositions;
    this.#model = model;
    this.#options = given;
    this.#endId = model.tokenizer.eosId ?? model.eosIds[0] ?? null;
    if (this.maxTokens > maxPositions) {
      throw new EspalierError(
        'E_ARGUMENT',
        `maxTokens is ${this.maxTokens}, and the context of ${model.name} has ${maxPositions} positions.`,
        `Give at most ${maxPositions}.`,
      );
    }
    if (given.end && this.#endId === null && options.end === true) {
      throw new EspalierError('E_ARGUMENT', `${model.name} names no end token.`, 'Give `end: false`.');
    }
  }

  /**
   * The sequences of an example; none where it is too long and left out.
   * @throws E_DATA_INVALID with file and line: too long, or nothing in it to learn; E_TEMPLATE_INVALID
   */
  async encode({ example, place }: PlacedExample): Promise<TrainingSequence[]> {
    switch (example.kind) {
      case 'pair':
        return this.#fitted(await this.#pair(example), place);
      case 'chat':
        return (await encodeConversation(this.#model, example, place)).flatMap((turns) => this.#fitted(turns, place));
      case 'text':
        return this.#blocks(await this.#text(example));
      default:
        return example satisfies never;
    }
  }

  /** Tokens that the chat template puts around the shortest conversation, with tools where it takes them; 0 where there is none. */
  async frame(): Promise<number> {
    const messages = [{ role: 'user', content: 'a' }];
    let most = 0;
    for (const options of [{}, { tools: [{}] }]) {
      try {
        most = Math.max(
          most,
          (await this.#model.encodeChat(messages, { addGenerationPrompt: true, ...options })).length,
        );
      } catch (error) {
        if (!(error instanceof EspalierError) || !/^E_(?:TEMPLATE|ARGUMENT)/.test(error.code)) throw error;
      }
    }
    return most;
  }

  async #pair({ prompt, answer }: PairExample): Promise<Marked> {
    const { specialTokens } = this.#options;
    const before = await (prompt === '' ? this.#start() : this.#model.encode(prompt, { specialTokens }));
    const together = await this.#model.encode(prompt + answer, { specialTokens });
    // what a tokenizer would join across the end of the prompt stays apart: the model will see the prompt alone
    const ids = startsWith(together, before)
      ? together
      : [...before, ...(await this.#model.encode(answer, { specialTokens, addBos: false }))];
    return this.#ended({ ids, learned: [[before.length, ids.length]] });
  }

  /** What stands before an empty prompt. */
  async #start(): Promise<number[]> {
    // with a letter, since an empty text may have tokens of its own
    const ids = await this.#model.encode('a');
    const alone = await this.#model.encode('a', { addBos: false });
    return ids.slice(0, Math.max(0, ids.length - alone.length));
  }

  async #text({ text, first, last }: TextExample): Promise<Marked> {
    const { specialTokens } = this.#options;
    const ids = await this.#model.encode(text, { specialTokens, ...(!first && { addBos: false }) });
    const marked: Marked = { ids, learned: [[0, ids.length]] };
    return last ? this.#ended(marked) : marked;
  }

  #ended({ ids, learned }: Marked): Marked {
    if (!this.#options.end || this.#endId === null || ids.at(-1) === this.#endId) return { ids, learned };
    const before = learned.slice(0, -1);
    return { ids: [...ids, this.#endId], learned: [...before, [learned.at(-1)![0], ids.length + 1]] };
  }

  #fitted(marked: Marked, place: string): TrainingSequence[] {
    const sequence = sequenceOf(
      this.#options.loss === 'all' ? { ids: marked.ids, learned: [[0, marked.ids.length]] } : marked,
    );
    if (sequence === null) {
      throw new EspalierError(
        'E_DATA_INVALID',
        `${place}: there is no token to learn.`,
        'Remove it, or give it a prompt.',
      );
    }
    const rows = sequence.ids.length - 1;
    if (rows <= this.maxTokens) return [sequence];
    const { long } = this.#options;
    switch (long) {
      case 'refuse':
        throw new EspalierError(
          'E_DATA_INVALID',
          `${place}: ${rows} tokens would go through the model, and ${this.maxTokens} are allowed.`,
          'Shorten the example, raise `maxTokens` up to the context of the model, or give `long: "truncate"` or `long: "skip"`.',
        );
      case 'skip':
        return [];
      case 'truncate': {
        const length = sequence.learned.subarray(0, this.maxTokens + 1).lastIndexOf(1) + 1;
        return length === 0 ? [] : [{ ids: sequence.ids.slice(0, length), learned: sequence.learned.slice(0, length) }];
      }
      default:
        return long satisfies never;
    }
  }

  #blocks({ ids }: Marked): TrainingSequence[] {
    const blocks: TrainingSequence[] = [];
    for (let from = 0; from + 1 < ids.length; from += this.maxTokens) {
      const block = Int32Array.from(ids.slice(from, from + this.maxTokens + 1));
      blocks.push({ ids: block, learned: new Uint8Array(block.length).fill(1, 1) });
    }
    return blocks;
  }
}

const startsWith = (ids: readonly number[], start: readonly number[]): boolean =>
  ids.length >= start.length && start.every((id, i) => id === ids[i]);

/** Without what stands behind the last learned token, which nothing is learned from; null where none is. The first has nothing before it. */
function sequenceOf({ ids, learned }: Marked): TrainingSequence | null {
  const marks = new Uint8Array(ids.length);
  for (const [from, to] of learned) marks.fill(1, from, to);
  marks[0] = 0;
  const length = marks.lastIndexOf(1) + 1;
  return length === 0 ? null : { ids: Int32Array.from(ids.slice(0, length)), learned: marks.slice(0, length) };
}
