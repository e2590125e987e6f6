/** Jobs of training on small models: what is written is what was trained, they go on where they were, and say what cannot be. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { decodedTensor } from '../../src/checkpoint/write/source-tensors.ts';
import type { EspalierError } from '../../src/errors.ts';
import { type MemoryOutput, memoryOutput } from '../../src/runtime/output/memory.ts';
import { planTrain, type TrainOptions, type TrainProgress, type TrainReceipt, train } from '../../src/train.ts';
import { frailOutput } from '../checkpoint/frail-output.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';
import { BASE, data, FULL, LORA, run } from './jobs.ts';
import { bytesOf, LINES, withNumber } from './texts.ts';

/** Copies of the lines: 12 MB. */
const LOOKED_THROUGH = 15_000;

const timeless = ({ seconds: _, peakBytes: __, ...rest }: TrainReceipt) => rest;

test('weights keep the type that they are stored in, and get another where it is asked for', async () => {
  const files = await tinyFiles('llama-bf16');
  for (const dtype of ['auto', 'bf16', 'f16', 'f32'] as const) {
    const { files: written } = await run(files, { ...FULL, steps: 2, dtype });
    const checkpoint = await openCheckpoint(written);
    const types = new Set([...checkpoint.tensors.values()].map(({ type }) => type));
    assert.equal([...types], [dtype === 'auto' ? 'bf16' : dtype]);
    await checkpoint.close();
    const config = JSON.parse(await (written['config.json'] as Blob).text());
    const name = { auto: 'bfloat16', bf16: 'bfloat16', f16: 'float16', f32: 'float32' }[dtype];
    assert.is(config.torch_dtype ?? config.dtype, name);
  }
});

test('a configuration that leaves the type open, or names it twice, says the new one throughout', async () => {
  const files = await tinyFiles('llama-bf16');
  const config = JSON.parse(new TextDecoder().decode(files['config.json']));
  files['config.json'] = bytesOf(JSON.stringify({ ...config, torch_dtype: null, dtype: 'bfloat16' }));
  const { files: written } = await run(files, { ...FULL, steps: 1, dtype: 'f32' });
  const { torch_dtype, dtype } = JSON.parse(await (written['config.json'] as Blob).text());
  assert.equal([torch_dtype, dtype], ['float32', 'float32']);
});

test('aborted and gone on with, the result is the same to the bit', async () => {
  const files = await tinyFiles('moe-mixtral');
  for (const options of [FULL, { ...LORA, freeze: [{ frozen: '*lora_A*', untilStep: 4 }] }]) {
    const whole = await run(files, { ...options, steps: 10 });
    for (const at of [1, 3, 4, 7, 9]) {
      const out = memoryOutput('out');
      const abort = new AbortController();
      const onProgress = ({ stage, done }: TrainProgress) => {
        if (stage === 'training' && done === at) abort.abort();
      };
      await rejects('E_ABORTED', () => run(files, { ...options, steps: 10, signal: abort.signal, onProgress }, out));
      const steps: number[] = [];
      // by as many threads as one likes
      const lanes = 'document' in globalThis || typeof SharedArrayBuffer !== 'function' ? 1 : 1 + (at % 2);
      const again = await run(
        files,
        {
          ...options,
          lanes,
          steps: 10,
          onProgress: ({ stage, done }) => void (stage === 'training' && steps.push(done)),
        },
        out,
      );
      assert.is(steps[0], at); // and not from the beginning
      await sameFiles(again.files, whole.files);
      const { device: _, ...rest } = timeless(again.receipt);
      const { device: __, ...want } = timeless(whole.receipt);
      assert.equal(rest, want);
    }
  }
});

async function sameFiles(got: Record<string, Blob>, want: Record<string, Blob>): Promise<void> {
  assert.equal(Object.keys(got).sort(), Object.keys(want).sort());
  for (const [name, content] of Object.entries(want)) {
    if (name === 'espalier-training.json') continue; // holds times
    assert.equal(new Uint8Array(await got[name]!.arrayBuffer()), new Uint8Array(await content.arrayBuffer()), name);
  }
}

test('an abort is heard while data are looked through', async () => {
  const files = await tinyFiles();
  // seconds of work, all of it in memory: nothing else gives the thread away
  const long = { ...BASE, data: bytesOf(LINES.repeat(LOOKED_THROUGH)), format: 'text', heldOut: 0 } as const;
  for (const options of [{ steps: 1 }, { epochs: 1 }]) {
    const abort = new AbortController();
    const due = performance.now() + 200;
    setTimeout(() => abort.abort(), 200);
    await rejects('E_ABORTED', () => planTrain(files, { ...long, ...options, signal: abort.signal }));
    const late = performance.now() - due;
    console.log(`  worst milliseconds from an abort to its answer: ${late.toExponential(1)} (bound 1.0e+3)`);
    assert.ok(late < 1000, `${late} ms`);
  }
});

test('one that was ended between its result and its name is only given the name', async () => {
  const files = await tinyFiles();
  const memory = memoryOutput('out');
  let fails = true;
  const out: MemoryOutput = {
    ...memory,
    commit: async () => {
      if (fails) throw new Error('the power went');
      await memory.commit();
    },
  };
  const error = await train(files, { ...FULL, out } as TrainOptions).then(String, String);
  assert.match(error, 'the power went');
  fails = false;
  // what is of another model, or of another type, is none of it
  const other = { ...files, 'model.safetensors': Uint8Array.from(files['model.safetensors']!) };
  const bytes = other['model.safetensors'];
  bytes.set(bytes.subarray(bytes.length - 4, bytes.length - 2), bytes.length - 2);
  await rejects('E_ARGUMENT', () => train(other, { ...FULL, out } as TrainOptions));
  await rejects('E_ARGUMENT', () => train(files, { ...FULL, dtype: 'f16', out } as TrainOptions));
  const stages = new Set<string>();
  const receipt = await train(files, {
    ...FULL,
    out,
    onProgress: ({ stage }) => void stages.add(stage),
  } as TrainOptions);
  assert.equal([...stages], ['reading']);
  assert.is(receipt.steps, 8);
  assert.ok('model.safetensors' in out.result());
});

test('what is half trained is not gone on with by other options, data or another model, unless told to begin anew', async () => {
  const files = await tinyFiles();
  const out = memoryOutput('out');
  const abort = new AbortController();
  const onProgress = ({ stage, done }: TrainProgress) => void (stage === 'training' && done === 4 && abort.abort());
  await rejects('E_ABORTED', () => run(files, { ...FULL, signal: abort.signal, onProgress }, out));
  const other = await tinyFiles('llama-f16');
  for (const [change, model, says] of [
    [{ learningRate: 1e-3 }, files, /other options: 4 steps/],
    [{ steps: 9 }, files, /other options/],
    [{ data: withNumber(data) }, files, /other data/],
    [{}, other, /another model/],
  ] as const) {
    const error = await rejects('E_ARGUMENT', () => run(model, { ...FULL, ...change }, out));
    assert.match(error.message, says);
  }
  const anew = await run(files, { ...FULL, learningRate: 1e-3, restart: true }, out);
  await sameFiles(anew.files, (await run(files, { ...FULL, learningRate: 1e-3 })).files);
});

test('a full disk at a state leaves the state before', async () => {
  const files = await tinyFiles();
  const out = frailOutput('out');
  const options = { ...FULL, saveEvery: 2, out } as TrainOptions;
  out.room = 900_000; // two states, not three
  await rejects('E_STORAGE_FULL', () => train(files, options));
  const names = (await out.files()).names;
  assert.is(names.filter((name) => name.endsWith('.json')).length, 1, `${names}`);
  assert.is(names.filter((name) => name.endsWith('.safetensors')).length, 1, `${names}`);
  out.room = Number.MAX_SAFE_INTEGER;
  const first: number[] = [];
  await train(files, { ...options, onProgress: ({ stage, done }) => void (stage === 'training' && first.push(done)) });
  assert.ok(first[0]! > 0);
  // a state that is there already has its space
  const half = frailOutput('half');
  const abort = new AbortController();
  const onProgress = ({ stage, done }: TrainProgress) => void (stage === 'training' && done === 3 && abort.abort());
  await rejects('E_ABORTED', () => train(files, { ...options, out: half, signal: abort.signal, onProgress }));
  const { stateBytes } = await planTrain(files, FULL);
  half.says = (16 << 20) + stateBytes + 1000;
  await train(files, { ...options, out: half });
  // and where the host says that states and result will not fit, nothing begins
  const small = frailOutput('small');
  small.says = 1000;
  const error = await rejects('E_STORAGE_FULL', () => train(files, { ...FULL, out: small } as TrainOptions));
  assert.match(error.message, /1000 are free/);
  // best weights want room as well
  small.says = (16 << 20) + 2 * stateBytes;
  const patient = { ...FULL, evaluateEvery: 1, patience: 3, out: small } as TrainOptions;
  const { message } = await rejects('E_STORAGE_FULL', () => train(files, patient));
  assert.match(message, new RegExp(`needs ${small.says + (2 * stateBytes) / 3} bytes`));
  await train(files, { ...FULL, out: small } as TrainOptions);
});

test('with patience the best weights are written', async () => {
  const files = await tinyFiles();
  const options = {
    ...FULL,
    learningRate: 0.1,
    schedule: 'constant',
    steps: 40,
    evaluateEvery: 1,
    patience: 3,
    dtype: 'f32',
  } as const;
  const { receipt, files: written } = await run(files, options);
  const losses = receipt.heldOut.map(({ loss }) => loss);
  assert.ok(receipt.steps < 40, 'patience ends it');
  assert.is(receipt.loss.heldOut, Math.min(...losses));
  const again = await run(written, { ...FULL, steps: 1 });
  assert.ok(Math.abs(again.receipt.heldOut[0]!.loss - Math.min(...losses)) < 2e-6);
});

test('an epoch has as many steps as it has lots of sequences, and a plan says so', async () => {
  const files = await tinyFiles();
  const { steps: _, heldOut: __, ...epochs } = FULL;
  const lines = LINES.trimEnd().split('\n').length;
  const plan = await planTrain(files, { ...epochs, epochs: 1.5 });
  assert.is(plan.data.sequences, lines);
  assert.is(plan.steps, Math.ceil((1.5 * lines) / 4));
  assert.is(plan.trained, plan.parameters);
  const seen: TrainProgress[] = [];
  const { receipt } = await run(files, { ...epochs, epochs: 0.4, onProgress: (progress) => void seen.push(progress) });
  assert.is(receipt.steps, Math.ceil((0.4 * lines) / 4));
  assert.is(receipt.loss.heldOut, null);
  assert.is(receipt.curve.points.length, receipt.steps);
  const last = seen.filter(({ stage }) => stage === 'training').at(-1)!;
  assert.is(last.done, last.total);
  assert.ok(last.tokensPerSecond! > 0 && last.secondsLeft === 0 && last.loss === receipt.loss.last);
});

test('a divergence from a reference is measured, and holds the model back where it counts', async () => {
  const files = await tinyFiles();
  const options = { ...LORA, reference: files, evaluateEvery: 4 };
  const free = (await run(files, options)).receipt.heldOut;
  assert.equal(
    free.map(({ step }) => step),
    [0, 4, 8],
  );
  assert.ok(Math.abs(free[0]!.divergence!) < 1e-7, `${free[0]!.divergence}`); // an adapter begins with adding nothing
  assert.ok(free[2]!.divergence! > 0.01, `${free[2]!.divergence}`);
  const held = (await run(files, { ...options, divergence: 20 })).receipt.heldOut;
  assert.ok(held[2]!.divergence! < free[2]!.divergence! / 2, `${held[2]!.divergence} ${free[2]!.divergence}`);
  assert.is((await run(files, LORA)).receipt.heldOut[0]!.divergence, undefined);
  await rejects('E_ARGUMENT', () => run(files, { ...LORA, divergence: 1 }));
});

test('tau leaves gate and up of the routed experts as they are, and what experts do is told', async () => {
  const files = await tinyFiles('moe-qwen2');
  const values = async (target: Record<string, Uint8Array | Blob>) => {
    const checkpoint = await openCheckpoint(target);
    const all = new Map<string, Float32Array>();
    for (const [name, entry] of checkpoint.tensors) all.set(name, await decodedTensor(entry, { headDim: 8 }));
    await checkpoint.close();
    return all;
  };
  const before = await values(files);
  const changed = async (tau: number) => {
    const { files: written, receipt } = await run(files, { ...FULL, tau, steps: 6, dtype: 'f32' });
    const after = await values(written);
    const names = [...before.keys()].filter((name) =>
      before.get(name)!.some((value, i) => value !== after.get(name)![i]),
    );
    return { names, receipt };
  };
  const isRouted = (name: string) => /\.experts\.\d+\.(?:gate|up)_proj/.test(name);
  const whole = await changed(1);
  assert.not.ok(whole.names.some(isRouted));
  assert.ok(whole.names.some((name) => /\.experts\.\d+\.down_proj/.test(name)));
  assert.ok(whole.names.includes('model.layers.1.mlp.gate.weight') && whole.names.includes('model.norm.weight'));
  const half = await changed(0.5);
  assert.ok(half.names.some(isRouted));
  const { routing } = half.receipt.heldOut.at(-1)!;
  assert.ok(routing!.length >= 1);
  for (const { shares, entropy, routed, shared } of routing!) {
    assert.ok(Math.abs(shares.reduce((a, b) => a + b) - 1) < 1e-9);
    assert.ok(entropy >= 0 && entropy <= Math.log(shares.length) + 1e-9);
    assert.ok(routed > 0 && shared! > 0);
  }
  await rejects('E_ARGUMENT', () => run(files, { ...LORA, tau: 0.1 }));
});

test('what cannot be is refused before work, with a code', async () => {
  const files = await tinyFiles();
  const cases: readonly (readonly [string, Record<string, unknown>, RegExp])[] = [
    ['E_ARGUMENT', { data: undefined }, /no data/],
    ['E_ARGUMENT', { full: true, lora: 8 }, /contradict/],
    ['E_ARGUMENT', { steps: 3, epochs: 1 }, /both/],
    ['E_ARGUMENT', { warmup: 1.5 }, /warmup is 1\.5/],
    ['E_ARGUMENT', { learningRate: 0 }, /learningRate is 0/],
    ['E_ARGUMENT', { batch: 0 }, /batch is 0/],
    ['E_ARGUMENT', { beta2: 1 }, /beta2 is 1/],
    ['E_ARGUMENT', { schedule: 'square' }, /schedule is "square"/],
    ['E_ARGUMENT', { maxTokens: 65 }, /context/],
    ['E_ARGUMENT', { rows: 20 }, /rows is 20/],
    ['E_ARGUMENT', { patience: 2 }, /nothing is held out/],
    ['E_ARGUMENT', { full: true, lora: undefined, freeze: [{ frozen: '*.typo' }] }, /freeze names \*\.typo/],
    ['E_ARGUMENT', { freeze: [{ frozen: '*lora*', untilStep: 1 }] }, /step 0 all parameters are frozen/],
    ['E_ARGUMENT', { full: true, lora: undefined, freeze: [{ frozen: '*' }] }, /step 0 all parameters are frozen/],
    ['E_ARGUMENT', { lora: { targets: ['q_prj'] } }, /no linear layer q_prj/],
    ['E_ARGUMENT', { lora: { rank: 8, alpha: 1e300 } }, /multiplied by Infinity/],
    ['E_ARGUMENT', { lora: { rank: 8, alpha: 1e-300 } }, /multiplied by 0/],
    ['E_ARGUMENT', { learningrate: 1 }, /did you mean learningRate/],
    [
      'E_DATA_INVALID',
      { data: bytesOf('{"prompt": "a", "answer": "b"}\n{"prompt": "a"}\n'), format: 'jsonl' },
      /line 2/,
    ],
    [
      'E_DATA_INVALID',
      { data: bytesOf('{"prompt": "a", "answer": " "}\n'), format: 'jsonl' },
      /line 1: the answer is empty/,
    ],
    [
      'E_DATA_INVALID',
      { data: bytesOf(JSON.stringify({ prompt: 'a'.repeat(60), answer: 'b' })), format: 'jsonl' },
      /line 1: 6\d tokens/,
    ],
  ];
  for (const [code, change, says] of cases) {
    const { lora = 2, ...rest } = change;
    const options = { ...BASE, lora, steps: 'epochs' in change ? 3 : 2, ...rest } as Partial<TrainOptions>;
    const stages = new Set<string>();
    const told = { ...options, onProgress: ({ stage }: TrainProgress) => void stages.add(stage) };
    const error = await rejects(code, () =>
      run(files, 'lora' in change && change['lora'] === undefined ? { ...told, lora: undefined as never } : told),
    );
    assert.not.ok(stages.has('loading'), String(error));
    assert.match(error.message, says, String(error));
    assert.ok(error.hint.length > 5);
  }
});

test('where every example is too long and left out, nothing is loaded, and no plan is made', async () => {
  const files = await tinyFiles();
  const none = {
    ...LORA,
    maxTokens: 3,
    long: 'skip',
    format: 'jsonl',
    data: bytesOf('{"prompt":"abcdefgh","answer":"x"}\n'),
  } as const;
  const some = { ...LORA, long: 'skip' } as const;
  for (const options of [
    { ...none, heldOut: 0 },
    { ...some, format: 'jsonl', data: bytesOf('{"text":"abcdefgh"}\n'), maxTokens: 3, heldOut: none.data },
  ] as const) {
    const error = await rejects('E_DATA_INVALID', () => planTrain(files, options));
    assert.match(error.message, /None of 1 examples/);
    const stages = new Set<string>();
    await rejects('E_DATA_INVALID', () =>
      run(files, { ...options, onProgress: ({ stage }) => void stages.add(stage) }),
    );
    assert.not.ok(stages.has('loading'));
  }
});

test('NaN in the model is refused', async () => {
  const files = await tinyFiles();
  const bytes = files['model.safetensors']!;
  bytes.set([0xff, 0x7f, 0xff, 0x7f], bytes.length - 4); // bf16
  await rejects('E_TENSOR_VALUE', () => run(files, FULL));
});

test('one that diverges says so, and keeps the state before', async () => {
  const files = await tinyFiles();
  const out = memoryOutput('out');
  const options = {
    ...LORA,
    // B is 0: without it the first step changes nothing
    freeze: [{ frozen: '*lora_B*', untilStep: 1 }],
    learningRate: 1e30,
    clip: 0,
    schedule: 'constant',
    saveEvery: 1,
    steps: 20,
  } as const;
  const error: EspalierError = await rejects('E_DIVERGED', () => run(files, options, out));
  assert.match(error.message, /step \d+/);
  assert.match(error.hint!, /^The state of step 1 is kept\. /);
  const names = (await out.files()).names.filter((name) => name.endsWith('.json'));
  assert.equal(names, ['espalier-training-000001.json']);
});

test('one step trains, and where patience ends it there is something to keep', async () => {
  const files = await tinyFiles();
  // as few examples as one step takes, with all defaults but the rate
  const { maxTokens, format, lanes } = BASE;
  const few = { maxTokens, format, lanes, data: bytesOf(LINES.split('\n').slice(0, 8).join('\n')), learningRate: 0.05 };
  const { receipt } = await run(files, { ...few, heldOut: few.data });
  assert.is(receipt.steps, 1);
  const [before, after] = receipt.heldOut.map(({ loss }) => loss);
  assert.ok(after! < before! - 1e-4, `${before} ${after}`);
  const ended = await run(files, { ...few, heldOut: few.data, epochs: 4, patience: 1 });
  assert.ok(ended.receipt.loss.heldOut! < before! - 1e-4);
});

test.run();
