/** Stories that examples/pretrain reads from files, and that its teacher writes. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sampleStories } from '../../examples/pretrain/sample.ts';
import { StoryFiles } from '../../examples/pretrain/story-files.ts';
import { trainableFolder } from '../../examples/pretrain/unpack.ts';
import { readStories } from '../../examples/pretrain/written-stories.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { decodedTensor } from '../../src/checkpoint/write/source-tensors.ts';
import { openLocal } from '../../src/open-local.ts';
import { modelTarget } from '../files.ts';

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'espalier-stories-'));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function message(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    return (error as Error).message;
  }
  return 'nothing was thrown';
}

test('stories of files: lines with text or with an answer, or an array', () =>
  inFolder(async (folder) => {
    const path = (name: string): string => join(folder, name);
    await writeFile(path('a.jsonl'), '{"index": 3, "text": "One. "}\n\n{"prompt": "Story:", "answer": " Two."}\n');
    await writeFile(path('b.json'), '[\n"Three.",\n"Four."]');
    const { texts, digest } = await readStories([path('a.jsonl'), path('b.json')]);
    assert.equal(texts, ['One.', 'Two.', 'Three.', 'Four.']);
    assert.match(digest, /^[0-9a-f]{64} [0-9a-f]{64}$/);
    assert.not.equal((await readStories([path('b.json'), path('a.jsonl')])).digest, digest);
    for (const [content, told] of [
      ['{"text": "One."}\n{"text": "Tw', /c\.jsonl:2: this is no JSON/],
      ['{"text": "One."}\n{"story": "Two."}', /c\.jsonl:2: there is no story/],
      ['{"text": " "}', /c\.jsonl:1: there is no story/],
      ['null', /c\.jsonl:1: there is no story/],
      ['', /has no story/],
    ] as const) {
      await writeFile(path('c.jsonl'), content);
      assert.match(await message(() => readStories([path('c.jsonl')])), told);
    }
  }));

test('what is written is gone on with, behind a torn line, by whatever number of processes', () =>
  inFolder(async (folder) => {
    const own = join(folder, 'stories-1.jsonl');
    const line = (index: number): string => `{"index":${index},"text":"So many: ${index}."}\n`;
    await writeFile(own, `${line(1)}${line(5)}{"index":9,"te`);
    await writeFile(join(folder, 'stories-0.jsonl'), `${line(0)}{"index":4`);
    await writeFile(join(folder, 'left-out-0.jsonl'), '{"index":2,"why":"too long"}\n');
    const files = await StoryFiles.open(folder, 1);
    const done = Array.from({ length: 10 }, (_, index) => index).filter((index) => files.has(index));
    assert.equal(done, [0, 1, 2, 5]);
    await files.story(9, 'So many: 9.');
    assert.is(await readFile(own, 'utf8'), line(1) + line(5) + line(9));
    assert.is(await readFile(join(folder, 'stories-0.jsonl'), 'utf8'), `${line(0)}{"index":4`, 'another is writing it');
  }));

test('sampling: each index once, none again', () =>
  inFolder(async (folder) => {
    await using model = await openLocal(await modelTarget('models/nano-base'));
    const told: string[] = [];
    const sample = async (part: number, parts: number, count: number, signal = new AbortController().signal) =>
      sampleStories(model, await StoryFiles.open(folder, part), {
        ...{ seed: 1, count, part, parts, batch: 4, maxTokens: 8, signal, tell: (text) => told.push(text) },
      });
    assert.is(await sample(0, 1, 5, AbortSignal.abort()), false);
    const stop = new AbortController();
    const soon = sample(2, 3, 600, stop.signal);
    setTimeout(() => stop.abort(), 50);
    assert.is(await soon, false, 'ended in the middle');
    for (const kind of ['stories', 'left-out']) await rm(join(folder, `${kind}-2.jsonl`), { force: true });
    assert.is(await sample(0, 1, 5), true);
    assert.is(await sample(1, 2, 9), true);
    const indices = async (part: number): Promise<number[]> => {
      const lines = (kind: string) => readFile(join(folder, `${kind}-${part}.jsonl`), 'utf8').catch(() => '');
      const all = `${await lines('stories')}${await lines('left-out')}`.trimEnd().split('\n');
      return all.map((text) => (JSON.parse(text) as { readonly index: number }).index).sort();
    };
    assert.equal(await indices(0), [0, 1, 2, 3, 4]);
    assert.equal(await indices(1), [5, 7]);
    told.length = 0;
    assert.is(await sample(0, 1, 5), true);
    assert.match(told[0]!, /goes on after 5/);
    assert.match(told.at(-1)!, /^0 stories, 0 too long/);
  }));

test('a GGUF file of a Llama is unpacked to the same model', () =>
  inFolder(async (folder) => {
    const from = fileURLToPath(new URL('../fixtures/tiny/gguf-llama-q4_1', import.meta.url));
    const out = await trainableFolder(from, join(folder, 'unpacked'));
    assert.is(out, join(folder, 'unpacked'));
    const [own, wanted] = [await openCheckpoint(out), await openCheckpoint(from)];
    try {
      assert.equal(own.config, wanted.config);
      assert.equal([...own.tensors.keys()].sort(), [...wanted.tensors.keys()].sort());
      const { headDim } = own.config;
      for (const [name, entry] of wanted.tensors)
        assert.equal(await decodedTensor(own.tensors.get(name)!, { headDim }), await decodedTensor(entry, { headDim }));
    } finally {
      await own.close();
      await wanted.close();
    }
    assert.is(await trainableFolder(from, out), out, 'once');
    const narrow = await openCheckpoint(await trainableFolder(from, join(folder, 'bf16'), 'bf16'));
    const wide = await openCheckpoint(from);
    try {
      const { headDim } = wide.config;
      for (const [name, entry] of wide.tensors) {
        assert.is(narrow.tensors.get(name)!.type, 'bf16');
        const got = await decodedTensor(narrow.tensors.get(name)!, { headDim });
        const want = await decodedTensor(entry, { headDim });
        assert.ok(
          got.length === want.length && got.every((v, i) => Math.abs(v - want[i]!) <= Math.abs(want[i]!) / 256),
        );
      }
    } finally {
      await narrow.close();
      await wide.close();
    }
    assert.is(await trainableFolder(out, join(folder, 'again')), out, 'what can be trained stays where it is');
    const scaled = from.replace('q4_1', 'rope-linear');
    assert.match(await message(() => trainableFolder(scaled, join(folder, 'other'))), /only plain Llamas/);
  }));

test.run();
