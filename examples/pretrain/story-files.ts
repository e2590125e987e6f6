import { appendFile, readdir, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';

const STORIES = 'stories';
const LEFT_OUT = 'left-out';

/**
 * What a process has sampled, in two files of its own: stories with their indices, and the indices of what was left out, which would come
 * out the same again. All indices of a folder together say what is done, whoever has done it.
 */
export class StoryFiles {
  readonly #folder: string;
  readonly #part: number;
  readonly #done: ReadonlySet<number>;

  private constructor(folder: string, part: number, done: ReadonlySet<number>) {
    this.#folder = folder;
    this.#part = part;
    this.#done = done;
  }

  /** Removes a torn last line of its own files, of a process that was ended while it wrote. */
  static async open(folder: string, part: number): Promise<StoryFiles> {
    for (const kind of [STORIES, LEFT_OUT]) await removeTornLine(join(folder, `${kind}-${part}.jsonl`));
    const done = new Set<number>();
    const names = (await readdir(folder)).filter((name) => /^(?:stories|left-out)-\d+\.jsonl$/u.test(name));
    for (const name of names) {
      const content = await readFile(join(folder, name), 'utf8');
      // another process may be writing its last line now: that one's index is none of ours
      for (const line of content.slice(0, content.lastIndexOf('\n') + 1).split('\n'))
        if (line !== '') done.add((JSON.parse(line) as { readonly index: number }).index);
    }
    return new StoryFiles(folder, part, done);
  }

  has(index: number): boolean {
    return this.#done.has(index);
  }

  story(index: number, text: string): Promise<void> {
    return this.#append(STORIES, { index, text });
  }

  leftOut(index: number, why: 'too long' | 'empty'): Promise<void> {
    return this.#append(LEFT_OUT, { index, why });
  }

  #append(kind: string, value: object): Promise<void> {
    return appendFile(join(this.#folder, `${kind}-${this.#part}.jsonl`), `${JSON.stringify(value)}\n`);
  }
}

async function removeTornLine(path: string): Promise<void> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (bytes === null || bytes.length === 0 || bytes.at(-1) === 0x0a) return;
  await truncate(path, bytes.lastIndexOf(0x0a) + 1);
}
