/** The prompt that all engines run: as ids, and as the text that gives these very ids, for those that take nothing else. */
import { readFile } from 'node:fs/promises';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { Tokenizer } from '../../src/model/text/tokenizer.ts';
import type { Prompt } from './types.ts';

/** Where the golden text is not there, or is too short. */
const FILLER = 'The river rises in the hills north of the town and runs through farmland before it reaches the sea. ';

/** @param golden file with real text as ids */
export async function promptOf(model: string, golden: string, tokens: number): Promise<Prompt> {
  const checkpoint = await openCheckpoint(model);
  const tokenizer = Tokenizer.create(await checkpoint.tokenizer());
  await checkpoint.close();
  const known: number[] = await readFile(golden, 'utf8').then(
    (json) => JSON.parse(json).text.ids,
    () => [],
  );
  const filler = () => tokenizer.encode(FILLER.repeat(Math.ceil(tokens / 16)));
  const all = known.length < tokens ? filler() : known;
  // a cut in the middle of a word gives a text of other tokens
  for (let length = tokens; length > tokens - 16 && length > 0; length--) {
    const ids = all.slice(0, length);
    const text = tokenizer.decode(ids);
    const again = tokenizer.encode(text);
    if (again.length === length && again.every((id, i) => id === ids[i])) return { ids, text };
  }
  throw new Error(`no text of ${tokens} tokens gives its own tokens back`);
}
