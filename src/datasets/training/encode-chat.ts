import { EspalierError } from '../../errors.ts';
import type { ChatExample, Marked, SequenceModel } from './types.ts';

/**
 * A conversation as the chat template writes it, with the assistant's turns marked from behind the opening of a turn to the end token in it.
 *
 * A turn is what the template writes for the messages up to it, beyond what it writes for those before it with the opening of an answer
 * (`add_generation_prompt`), in token ids. Where the ids of a beginning of the conversation do not begin those of the whole, the
 * template rewrites what went before (thoughts that are dropped): then each turn of the assistant is a conversation of its own, with what the
 * template makes of those before it, as it would be asked for.
 *
 * @throws E_DATA_INVALID where the template writes a turn otherwise than it opens it; E_TEMPLATE_INVALID
 */
export async function encodeConversation(
  model: SequenceModel,
  { messages, tools }: ChatExample,
  place: string,
): Promise<Marked[]> {
  const idsOf = (count: number, addGenerationPrompt: boolean): Promise<number[]> =>
    placed(model, place, async () =>
      model.encodeChat(messages.slice(0, count), { addGenerationPrompt, ...(tools && { tools }), now: NOW }),
    );
  const turns = messages.flatMap(({ role }, i) => (role === 'assistant' ? [i] : []));
  const ends = new Set(model.eosIds);
  const made: Marked[] = [];
  for (const i of turns) {
    const opened = await idsOf(i, true);
    const ids = await idsOf(i + 1, false);
    const from = common(opened, ids);
    // the last token of the opening may have grown together with the first of the answer
    if (from < opened.length - 1 || from >= ids.length) {
      throw new EspalierError(
        'E_DATA_INVALID',
        `${place}: the chat template writes message ${i + 1} otherwise than it opens an answer.`,
        'Its turns cannot be told from the rest: give prompt and answer as text.',
      );
    }
    let to = ids.findLastIndex((id, at) => at >= from && ends.has(id)) + 1;
    if (to === 0) to = ids.length;
    made.push({ ids, learned: [[from, to]] });
  }
  const whole = made.at(-1)!.ids;
  const isWhole = made.every(({ ids }) => common(ids, whole) === ids.length);
  return isWhole ? [{ ids: whole, learned: made.flatMap(({ learned }) => learned) }] : made;
}

/** One for all: what a template says of today must not change between two runs. */
export const NOW = new Date(0);

function common(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}

/** Errors of the template name the line, but where the model can write no conversation at all: no line is to blame for that. */
async function placed<T>(model: SequenceModel, place: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error;
    const simplest = [{ role: 'user', content: 'a' }];
    const other = await (async () => model.encodeChat(simplest, { addGenerationPrompt: true, now: NOW }))().catch(
      (one) => one,
    );
    if (other instanceof EspalierError && other.message === error.message) throw error;
    throw new EspalierError(error.code, `${place}: ${error.message}`, error.hint, { cause: error });
  }
}
