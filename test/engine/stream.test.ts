/** Generations that stream out of the worker: run ahead, left early, aborted, forgotten. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { linkOf } from '../../src/engine/engine.ts';
import { RunAhead } from '../../src/engine/line/run-ahead.ts';
import { Engine, EspalierError } from '../../src/index.ts';
import type { GeneratedToken } from '../../src/model/generate/generation.ts';
import { rejects } from '../errors.ts';
import { modelTarget } from '../files.ts';
import { tinyFiles } from './tiny-model.ts';

const PROMPT = 'Once upon a time';
const engine = await Engine.create({ lanes: 1 });
const model = await engine.open(await modelTarget('models/nano-base'));
const tiny = await engine.open(await tinyFiles());
await Promise.all([model.score(PROMPT), tiny.score('abc')]); // the RoPE tables are made
const resting = (await engine.stats()).tensors;
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Runs a test and asserts that no cache is left in the worker. */
const on = (title: string, run: () => Promise<void>) =>
  test(title, async () => {
    await run();
    const { tensors, generations } = await engine.stats();
    assert.is(generations, 0);
    assert.is(tensors, resting);
  });

on('the pieces joined are the text, whoever reads slowly', async () => {
  const options = { maxTokens: 40, stopAtEos: false };
  const want = await tiny.generate('hello', options).result();
  assert.is(want.tokens.length, 40);
  assert.is(want.text, want.tokens.map((t) => t.text).join(''));
  const slow = tiny.generate('hello', options);
  const seen: GeneratedToken[] = [];
  for await (const token of slow) {
    seen.push(token);
    if (seen.length % 10 === 0) await pause(5);
  }
  assert.equal(seen, want.tokens);
  const result = await slow.result();
  assert.equal(result.tokens, want.tokens);
  assert.is(result.finishReason, 'length');
  assert.is(await slow.text(), want.text);
  assert.is(await tiny.generate('hello', options).text(), want.text);
});

on('two streams of one model are each what they are alone', async () => {
  const prompts = [PROMPT, 'The cat'];
  const alone = [];
  for (const prompt of prompts) alone.push(await model.generate(prompt, { maxTokens: 20 }).text());
  assert.equal(await Promise.all(prompts.map((prompt) => model.generate(prompt, { maxTokens: 20 }).text())), alone);
});

on('a generation runs once, and result() waits for its loop', async () => {
  const generation = tiny.generate('abc', { maxTokens: 3, stopAtEos: false });
  for await (const _ of generation);
  assert.is((await generation.result()).tokens.length, 3);
  await rejects('E_ARGUMENT', async () => {
    for await (const _ of generation);
  });
});

on('leaving the loop frees the cache, and result() says that it was left', async () => {
  const generation = model.generate(PROMPT, { maxTokens: 1000, stopAtEos: false });
  let count = 0;
  for await (const _ of generation) if (++count === 3) break;
  const { generations, tensors } = await engine.stats();
  assert.is(generations, 0);
  assert.is(tensors, resting);
  await rejects('E_ARGUMENT', () => generation.result());
});

on('abort before it starts, in the middle, and while the reader is busy', async () => {
  const reason = new Error('enough');
  const aborts = async (when: (controller: AbortController, count: number) => void, prompt = PROMPT) => {
    const controller = new AbortController();
    const generation = model.generate(prompt, { maxTokens: 1500, stopAtEos: false, signal: controller.signal });
    let count = 0;
    when(controller, count);
    const error = await rejects('E_ABORTED', async () => {
      for await (const _ of generation) when(controller, ++count);
    });
    assert.is(error.cause, reason);
    assert.instance(error, EspalierError);
    await rejects('E_ABORTED', () => generation.result());
    return count;
  };
  assert.is(await aborts((controller) => controller.abort(reason)), 0);
  // tokens that are there already are not given out
  assert.is(await aborts((controller, count) => count === 5 && controller.abort(reason)), 5);
  // from outside of the loop
  const count = await aborts((controller, count) => {
    if (count === 2) setTimeout(() => controller.abort(reason), 0);
  });
  assert.ok(count >= 2 && count < 1500, `${count}`);
});

on('abort in the middle of a prompt: half of it, begun at the same time, takes longer', async () => {
  const long = 'word '.repeat(1500);
  const other = await Engine.create({ lanes: 1 });
  const second = await other.open(await modelTarget('models/nano-base'));
  await second.score(PROMPT);
  const first: string[] = [];
  // the system may put one thread aside for long, but hardly again and again
  for (let attempt = 0; attempt < 5 && !first.includes('aborted'); attempt++) {
    const controller = new AbortController();
    const whole = model.generate(long, { maxTokens: 1, signal: controller.signal });
    const aborted = rejects('E_ABORTED', () => whole.result()).then(() => 'aborted');
    controller.abort();
    const half = second.generate(long.slice(0, long.length / 2), { maxTokens: 1 }).text();
    first.push(await Promise.race([aborted, half.then(() => 'half of it')]));
    await Promise.all([aborted, half]);
  }
  await other.close();
  assert.ok(first.includes('aborted'), first.join());
});

on('abort a score', async () => {
  const controller = new AbortController();
  const done: number[] = [];
  const onProgress = (count: number) => void done.push(count);
  const scored = model.score('word '.repeat(1500), { signal: controller.signal, onProgress });
  // the worker has this message as soon as the other, and looks for one between two layers, in Deno at longer intervals
  controller.abort('why');
  const error = await rejects('E_ABORTED', () => scored);
  assert.is(error.cause, 'why');
  assert.ok(
    done.every((count) => count <= 512),
    `done: ${done.join()}`,
  );
  await rejects('E_ABORTED', () => model.score('word', { signal: AbortSignal.abort() }));
});

on('errors come out of the loop', async () => {
  await rejects('E_ARGUMENT', () => model.generate('', { addBos: false }).result());
  await rejects('E_ARGUMENT', () => model.generate(PROMPT, { maxTokens: 0 }).result());
  await rejects('E_ARGUMENT', () => model.generate(PROMPT, { temperature: -1 }).result());
  await rejects('E_CONTEXT_LENGTH', () => model.generate('word '.repeat(3000)).text());
  await rejects('E_ARGUMENT', () => model.generate([1e9]).result());
  await rejects('E_TEMPLATE_INVALID', () => model.generate([{ role: 'user', content: 'x' }]).result());
});

/** Gives out numbers and counts how far it was asked. */
function counting(total: number, yields: () => Promise<void> = async () => {}) {
  const state = { asked: 0, freed: false };
  const tokens = {
    async *[Symbol.asyncIterator]() {
      try {
        for (; state.asked < total; ) {
          await yields();
          yield { id: state.asked++, text: '', logprob: 0, entropy: 0 };
        }
      } finally {
        state.freed = true;
      }
    },
  };
  return { state, begin: () => ({ tokens, finish: async () => 'the end' }) };
}

test('it runs ahead of its reader by eight tokens, who gets all that are ready', async () => {
  const { state, begin } = counting(30);
  const stream = new RunAhead(begin);
  await pause(10);
  assert.is(state.asked, 8);
  const ids: number[] = [];
  let batches = 0;
  for (;;) {
    const { tokens, finish } = await stream.take();
    batches++;
    ids.push(...tokens.map((t) => t.id));
    if (finish) break;
    await pause(1);
  }
  assert.equal(ids, [...Array(30).keys()]);
  assert.ok(batches <= 5, `${batches} batches`);
  assert.ok(state.freed);
});

test('a reader that is faster gets each token at once', async () => {
  const { begin } = counting(3, () => pause(5).then(() => {}));
  const stream = new RunAhead(begin);
  const sizes: number[] = [];
  for (let over = false; !over; ) {
    const { tokens, finish } = await stream.take();
    sizes.push(tokens.length);
    over = finish !== undefined;
  }
  assert.equal(sizes.slice(0, 3), [1, 1, 1]);
});

test('a stopped one frees, and a reader that waits is told', async () => {
  const resting = counting(30);
  const stream = new RunAhead(resting.begin);
  await pause(5);
  await stream.stop();
  assert.ok(resting.state.freed);
  assert.is(resting.state.asked, 8);
  const stuck = new RunAhead(counting(3, () => pause(30).then(() => {})).begin);
  const waiting = stuck.take();
  await stuck.stop();
  assert.is((await waiting).error?.code, 'E_DISPOSED');
});

test('fewer calls than tokens, for a reader that is slower', async () => {
  const link = linkOf(engine);
  const call = link.call.bind(link);
  let calls = 0;
  link.call = ((...args: Parameters<typeof call>) => {
    if (args[0] === 'next') calls++;
    return call(...args);
  }) as typeof link.call;
  let count = 0;
  for await (const _ of tiny.generate('abc', { maxTokens: 55, stopAtEos: false })) {
    count++;
    // the worker looks for a message after a token at least, so that it gets ahead while two are answered
    for (let i = 0; i < 2; i++) await engine.stats();
  }
  link.call = call;
  assert.is(count, 55);
  assert.ok(calls < 20, `${calls} calls`);
});

test.after(() => engine.close());
test.run();
