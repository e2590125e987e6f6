/** What an earlier job has left in a folder: it becomes no part of another result, and damaged states are refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { PruneProgress } from '../../src/prune.ts';
import { sha256 } from '../../src/runtime/files/hash.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { train } from '../../src/train.ts';
import { rejects } from '../errors.ts';
import { bytesOf } from '../train/texts.ts';
import { FORGET, knowingFiles, lines, run } from './jobs.ts';

const TRAINED = { data: lines(FORGET), format: 'jsonl', maxTokens: 48, lanes: 1, lora: 2, steps: 1 } as const;
const SHORT = { epochs: 1, gateSteps: 20 } as const;

test('what was killed before its receipt is no part of what comes after it', async () => {
  const files = await knowingFiles();
  const memory = memoryOutput('out');
  const out = {
    ...memory,
    writeBytes: async (name: string, bytes: Uint8Array) => {
      if (name === 'espalier-prune.json') throw new Error('killed');
      await memory.writeBytes(name, bytes);
    },
  };
  assert.match(await run({ ...SHORT, saveEvery: 0 }, out).then(String, String), 'killed');
  const left = (await memory.files()).names;
  assert.ok(left.includes('alter.json') && left.includes('alter.safetensors'), `${left}`);
  await train(files, { ...TRAINED, out: memory });
  const written = Object.keys(memory.result()).sort();
  assert.equal(written, ['adapter_config.json', 'adapter_model.safetensors', 'espalier-training.json']);
  // and the other way round, with a state and begun anew
  const begun = memoryOutput('begun');
  await begun.writeBytes('adapter_config.json', bytesOf('{}'));
  await aborted(begun);
  const { files: anew } = await run({ ...SHORT, seed: 1, restart: true }, begun);
  assert.equal(Object.keys(anew).sort(), ['alter.json', 'alter.safetensors', 'espalier-prune.json']);
});

async function aborted(out: ReturnType<typeof memoryOutput>): Promise<string> {
  const abort = new AbortController();
  const onProgress = ({ stage, done }: PruneProgress) => void (stage === 'training' && done === 6 && abort.abort());
  await rejects('E_ABORTED', () => run({ signal: abort.signal, onProgress }, out));
  return (await out.files()).names.find((name) => /training-\d+\.json/.test(name))!;
}

test('a state that says what was not written is refused with a code, and what to do', async () => {
  const out = memoryOutput('out');
  const name = await aborted(out);
  const text = new TextDecoder().decode((await out.readBytes(name))!);
  const { sum: _, ...state } = JSON.parse(text);
  const { progress } = state;
  const { isolation } = progress;
  const forged = async (content: object) =>
    `${JSON.stringify({ ...content, sum: await sha256(JSON.stringify(content)) })}\n`;
  const changes = [
    { step: progress.step + 1 },
    { half: 1 },
    { seen: [[null]] },
    { seen: null },
    { looks: [[]] },
    { looks: [[{ look: 1 }]] },
    { means: ['low'] },
    { best: {} },
    { seconds: -1 },
    { ended: null },
    { isolation: null },
    { isolation: { ...isolation, kinds: { structure: null } } },
    { isolation: { ...isolation, moments: [{}] } },
    { isolation: { ...isolation, last: { ...isolation.last, factors: { a: 1 } } } },
    { isolation: { ...isolation, verified: { base: { structure: 0.5 } } } },
  ];
  const all = changes.map((change) => ({ ...state, progress: { ...progress, ...change } }));
  for (const content of [text.replace(/"step":\d+/, '"step":1'), ...(await Promise.all(all.map(forged)))]) {
    await out.writeBytes(name, bytesOf(content));
    const error = await rejects('E_FILE_READ', () => run({}, out));
    assert.match(error.hint, 'restart: true');
  }
});

test.run();
