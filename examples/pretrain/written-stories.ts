import { readFile } from 'node:fs/promises';
import { sha256 } from '../../src/runtime/files/hash.ts';

/** Stories that somebody has written, not a grammar. */
export interface WrittenStories {
  readonly texts: readonly string[];
  /** Of the content of each file, in their order; empty without any. */
  readonly digest: string;
}

export const NO_STORIES: WrittenStories = { texts: [], digest: '' };

/**
 * Stories of files, none of them empty: JSON lines with `text`, or with `prompt` and `answer`, of which the answer is the story; or one JSON
 * array of texts.
 * @throws what reading throws; an Error that names file and line for what is neither, and for files without a story
 */
export async function readStories(paths: readonly string[]): Promise<WrittenStories> {
  const texts: string[] = [];
  const digests: string[] = [];
  for (const path of paths) {
    const content = await readFile(path, 'utf8');
    digests.push(await sha256(content));
    const own = storiesIn(content, path);
    if (own.length === 0) throw new Error(`${path} has no story in it.`);
    for (const text of own) texts.push(text);
  }
  return { texts, digest: digests.join(' ') };
}

function storiesIn(content: string, path: string): string[] {
  if (content.trimStart().startsWith('[')) return (parsed(content, path) as unknown[]).map((one) => story(one, path));
  return content.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return [];
    const place = `${path}:${i + 1}`;
    const { text, answer } = Object(parsed(line, place)) as { readonly text?: unknown; readonly answer?: unknown };
    return [story(text ?? answer, place)];
  });
}

function parsed(json: string, place: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    // what was writing it may have been ended in the middle of a line: teach.ts started again removes such a line
    throw new Error(`${place}: this is no JSON.`, { cause });
  }
}

function story(value: unknown, place: string): string {
  if (typeof value === 'string' && value.trim() !== '') return value.trim();
  throw new Error(`${place}: there is no story in it, as \`text\` or \`answer\`.`);
}
