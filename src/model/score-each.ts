import type { Tensor } from '../device/device.ts';
import { exclusive } from '../device/exclusive.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import type { Decoder } from './decoder.ts';
import type { KvCache } from './kv-cache.ts';
import type { ScoreOptions } from './options.ts';
import { readingCache, rowsInPass } from './read/caches.ts';
import type { TokenRouting } from './routed/rule.ts';
import { positionsOf, type RowScore, type ScoredPosition, scoreRows, scoreTokens } from './score.ts';
import { runOf, type TextRun } from './text-runs.ts';

/**
 * The same of several texts. Short ones share passes over the weights, up to `Decoder.chunk` tokens in each, where rows do not notice it, and each is
 * as it is alone, to the bit; texts behind one another that begin alike, such as answers to one question, then share their beginning. On a GPU they share
 * passes, too, and each is as it is alone within rounding.
 * @param options `onProgress` is told of texts
 * @throws as `scoreTokens`
 */
export async function scoreEach(
  decoder: Decoder,
  texts: readonly (readonly number[])[],
  options: ScoreOptions = {},
): Promise<ScoredPosition[][]> {
  const empty = texts.findIndex((ids) => ids.length === 0);
  if (empty >= 0) throw new EspalierError('E_ARGUMENT', `Text ${empty} has no token to score.`, 'Give a text.');
  decoder.checkHead();
  const { onProgress, ...others } = options;
  const results: ScoredPosition[][] = [];
  onProgress?.(0, texts.length);
  while (results.length < texts.length) {
    throwIfAborted(options.signal);
    const runs = packed(decoder, texts, results.length);
    const some = runs.flatMap((run) => run.texts);
    if (some.length <= 1) results.push(await scoreTokens(decoder, texts[results.length]!, others));
    else results.push(...(await exclusive(decoder.device, () => scoreTogether(decoder, runs, others))));
    onProgress?.(results.length, texts.length);
  }
  return results;
}

/** The texts from `first` on that go together; none where the first goes alone. One token alone gets other bits than among others. */
function packed(decoder: Decoder, texts: readonly (readonly number[])[], first: number): TextRun[] {
  const runs: TextRun[] = [];
  if (!decoder.readsTogether) return runs;
  const most = decoder.chunk;
  let [prefixes, rests, end] = [0, 0, first];
  while (end < texts.length && texts[end]!.length > 1) {
    const run = runOf(texts, end, decoder.piecesIndependent ? most - rests : 0);
    prefixes += run.prefix;
    rests += run.texts.reduce((sum, ids) => sum + rowsInPass(decoder, ids.length - run.prefix), 0);
    if (prefixes > most || rests > most) break;
    runs.push(run);
    end += run.texts.length;
  }
  return runs;
}

/** A text in a run, its own cache, and where it stands among the rows of a pass. */
interface Member {
  readonly ids: readonly number[];
  readonly run: TextRun;
  readonly cache: KvCache;
}

async function scoreTogether(
  decoder: Decoder,
  runs: readonly TextRun[],
  options: ScoreOptions,
): Promise<ScoredPosition[][]> {
  const { device } = decoder;
  const most = decoder.scoredRows;
  const shared = runs.filter(({ prefix }) => prefix > 0);
  const beginnings = new Map(shared.map((run) => [run, decoder.cache()]));
  const members = runs.flatMap((run) =>
    run.texts.map((ids): Member => ({ ids, run, cache: readingCache(decoder, ids.length) })),
  );
  const mark = device.mark();
  try {
    const before = new Map<TextRun, { readonly scores: readonly RowScore[]; readonly last: Tensor }>();
    if (shared.length > 0) {
      const rows = shared.reduce((sum, { prefix }) => sum + prefix, 0);
      const states = device.scratch('f32', [rows, decoder.config.hiddenSize]);
      const parts = shared.map((run) => ({ ids: run.texts[0]!.slice(0, run.prefix), cache: beginnings.get(run)! }));
      await decoder.forwardEach(parts, {
        signal: options.signal,
        output: 'all',
        onOutput: (hidden) => device.copyRows(hidden, states, 0),
      });
      let first = 0;
      for (const [i, run] of shared.entries()) {
        const { ids } = parts[i]!;
        // what the last row predicts is another token in each text
        const inner = device.rows(states, first, run.prefix - 1);
        const scores = await scoreRows(decoder, inner, ids.slice(1), even(run.prefix - 1, most), options);
        first += run.prefix;
        before.set(run, { scores, last: device.rows(states, first - 1, 1) });
      }
      for (const { ids, run, cache } of members) {
        if (run.prefix === 0) continue;
        cache.reserve(ids.length);
        cache.copyFrom(beginnings.get(run)!, run.prefix);
      }
    }
    const results: ScoredPosition[][] = [];
    const choices: TokenRouting[] = [];
    await decoder.forwardEach(
      members.map(({ ids, run, cache }) => ({ ids: ids.slice(run.prefix), cache })),
      {
        signal: options.signal,
        output: 'all',
        onRouting: options.routing ? (list) => void choices.push(...list) : undefined,
        onOutput: async (hidden) => {
          const all =
            shared.length === 0 ? hidden : withLasts(decoder, members, hidden, (run) => before.get(run)!.last);
          const targets = members.flatMap(({ ids, run }) => [...ids.slice(Math.max(1, run.prefix)), -1]);
          const scores = await scoreRows(decoder, all, targets, slicesOf(members, most), options);
          let first = 0;
          for (const { ids, run } of members) {
            const end = first + rowsOf(ids, run);
            const own = [...(before.get(run)?.scores ?? []), ...scores.slice(first, end)];
            // who has chosen experts shares no beginning
            results.push(positionsOf(ids, own, choices.slice(first, end)));
            first = end;
          }
        },
      },
    );
    return results;
  } finally {
    device.reset(mark);
    for (const { cache } of members) cache.dispose();
    for (const cache of beginnings.values()) cache.dispose();
  }
}

/** Rows whose logits are a text's own: from the last of its beginning on. */
const rowsOf = (ids: readonly number[], { prefix }: TextRun): number => ids.length - Math.max(0, prefix - 1);

/** Hidden states of all texts, each behind the last of its beginning; scratch. */
function withLasts(
  { device, config }: Decoder,
  members: readonly Member[],
  hidden: Tensor,
  lastOf: (run: TextRun) => Tensor,
): Tensor {
  const rows = members.reduce((sum, { ids, run }) => sum + rowsOf(ids, run), 0);
  const all = device.scratch('f32', [rows, config.hiddenSize]);
  let [from, to] = [0, 0];
  for (const { ids, run } of members) {
    if (run.prefix > 0) device.copyRows(lastOf(run), all, to++);
    const count = ids.length - run.prefix;
    device.copyRows(device.rows(hidden, from, count), all, to);
    from += count;
    to += count;
  }
  return all;
}

/** So many rows in slices of at most `most`, none of them of one row if there are more. */
function even(rows: number, most: number): number[] {
  const pieces = Math.ceil(rows / most);
  const until = (i: number) => Math.floor((rows * i) / pieces);
  return Array.from({ length: pieces }, (_, i) => until(i + 1) - until(i));
}

/**
 * Counts of rows of several texts whose logits stand together: at most `most`. Of a text alone so many do, and a last row that is left over
 * gets other bits than one among others; so does it here.
 */
function slicesOf(members: readonly Member[], most: number): number[] {
  const slices: number[] = [];
  let run = 0;
  for (const member of members) {
    const alone = member.ids.length % most === 1 ? 1 : 0;
    run += rowsOf(member.ids, member.run) - alone;
    if (alone === 0) continue;
    slices.push(...even(run, most), 1);
    run = 0;
  }
  return [...slices, ...even(run, most)];
}
