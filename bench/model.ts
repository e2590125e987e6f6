/**
 * SmolLM2 in alternation with onnxruntime-web (f32) and native llama.cpp (the same GGUF file), one thread each, and the embedded
 * nano-base against the rate of the plain matrix product.
 */

import { readFile, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { exists } from './browser/files.ts';
import { compare, goal, header, machine, ratios, type Timing } from './harness.ts';
import * as ours from './ours.ts';
import { measurePeak, type Peak } from './peak/probe.ts';
import { LlamaNative, available as llamaAvailable } from './peers/llama-native.ts';
import { modelAvailable, version as ortVersion, SmolLM2 } from './peers/ort-web.ts';
import { type Engine, prefillAndDecode, promptIds, SMOLLM2, type Measured as Timed } from './smollm2.ts';
import { type Context, numbers, type Suite } from './suite.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NANO = `${ROOT}models/nano-base`;
const OPS_PER_TOKEN = 2 * 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536); // SmolLM2's matrices without the output

async function smollm2(context: Context, peak: Peak) {
  const { print, flags } = context;
  const path = typeof flags['model'] === 'string' ? flags['model'] : SMOLLM2;
  if (!(await exists(path))) {
    print(`SmolLM2 left out: ${path} is not there (--model FILE.gguf)`);
    return null;
  }
  const [tokens = 512] = numbers(context, 'tokens', [512]);
  const [decoded = 64] = numbers(context, 'decode', [64]);
  const [rounds = 5] = numbers(context, 'rounds', [5]);
  const ids = await promptIds(tokens);
  const skipped: Record<string, string> = {};
  const versions = [ours.version];
  const size = tokens + decoded;
  const engines: [string, Engine][] = [
    ['espalier', await ours.openModel(path, { activations: 'int8', context: size })],
  ];
  if (flags['exact'])
    engines.push(['espalier, f32 activations', await ours.openModel(path, { activations: 'f32', context: size })]);
  const noLlama = await llamaAvailable();
  if (noLlama) skipped['llama.cpp'] = noLlama;
  else {
    const llama = await LlamaNative.open(path, { context: Math.max(1024, size) });
    versions.push(llama.version);
    engines.push(['llama.cpp native', llama]);
  }
  const noOrt = await modelAvailable();
  if (noOrt) skipped['ort-web'] = noOrt;
  else {
    engines.push(['ort-web, f32', await SmolLM2.open()]);
    versions.push(await ortVersion());
  }

  try {
    const { prefill, decode, texts } = await prefillAndDecode(engines, ids, decoded, {
      prefill: { rounds, warmup: 1 },
      decode: { rounds: Math.max(2, Math.ceil(rounds / 2)), warmup: 0 },
    });
    report(context, peak, versions, skipped, {
      tokens,
      decoded,
      prefill,
      decode,
      bytes: (await stat(path)).size,
      texts,
    });
    return { machine: machine(versions), tokens, decoded, prefill, decode, skipped, texts };
  } finally {
    for (const [, engine] of engines) await engine.dispose();
  }
}

interface Measured extends Timed {
  tokens: number;
  decoded: number;
  bytes: number;
}

function report(
  { print }: Context,
  peak: Peak,
  versions: string[],
  skipped: Record<string, string>,
  m: Measured,
): void {
  const ceiling = peak.fused ?? peak.mulAdd;
  print(header(machine(versions)));
  print(`f32 128-bit peak ${ceiling.toFixed(1)} GFLOP/s, read ${peak.read.toFixed(1)} GB/s`);
  for (const reason of Object.values(skipped)) print(`left out: ${reason}`);
  print(`\nSmolLM2-135M, prefill of ${m.tokens} tokens\n${ratios(m.prefill)}`);
  const ops = (m.prefill[0]!.best * OPS_PER_TOKEN) / 1e9;
  print(`${ops.toFixed(1)} Gop/s in the matrices: ${(ops / ceiling).toFixed(2)} of the f32 peak`);
  print(`\ndecode of ${m.decoded} tokens after it\n${ratios(m.decode)}`);
  const read = (m.decode[0]!.best * m.bytes) / 1e9;
  print(`${read.toFixed(1)} GB/s of weights: ${((100 * read) / peak.read).toFixed(0)} % of the read bandwidth\n`);
  const mine = m.texts['espalier'];
  for (const [name, ids] of Object.entries(m.texts)) {
    const differs = ids.findIndex((id, i) => id !== mine?.[i]);
    if (ids !== mine) print(`greedy text of ${name}: ${differs < 0 ? 'the same' : `differs at token ${differs}`}`);
  }
  const ratio = (timings: Timing[], name: string) => timings.find((t) => t.name === name)?.ratio;
  const wanted: [string, number, number][] = peak.fused
    ? [
        ['llama.cpp native', 2.5, 1.0],
        ['ort-web, f32', 4, 4],
      ]
    : [['llama.cpp native', 0.6, 0.5]];
  for (const [name, prefillGoal, decodeGoal] of wanted) {
    const p = ratio(m.prefill, name);
    const d = ratio(m.decode, name);
    if (p !== undefined) print(goal(`prefill against ${name}`, p, prefillGoal));
    if (d !== undefined) print(goal(`decode against ${name}`, d, decodeGoal));
  }
}

/** nano-base is f32 work throughout, so its prefill is held against our own matrix product. */
async function nano({ print }: Context) {
  if (!(await exists(NANO))) return null;
  const config = JSON.parse(await readFile(`${NANO}/config.json`, 'utf8'));
  const { hidden_size: d, intermediate_size: f, num_hidden_layers: layers } = config;
  const headDim = config.head_dim ?? d / config.num_attention_heads;
  const kv = (config.num_key_value_heads ?? config.num_attention_heads) * headDim;
  const q = config.num_attention_heads * headDim;
  const tokens = Math.min(512, config.max_position_embeddings);
  // matrices for every token, causal scores and mixes for half of all pairs, the output for the last
  const perToken = 2 * layers * (2 * d * q + 2 * d * kv + 3 * d * f);
  const flop = tokens * perToken + 2 * layers * q * tokens * tokens + 2 * d * config.vocab_size;
  const n = 512;
  const model = await ours.openModel(NANO, { activations: 'f32', context: tokens });
  const product = await ours.gemm(new Float32Array(n * n).fill(0.5), new Float32Array(n * n).fill(0.25), n);
  const ids = Array.from({ length: tokens }, (_, i) => 1 + ((i * 7919) % (config.vocab_size - 1)));
  const timings = await compare(
    [
      { name: 'nano-base', unit: 'GFLOP', unitsPerRun: flop / 1e9, run: () => model.prefill(ids) },
      { name: `gemm ${n}`, unit: 'GFLOP', unitsPerRun: (2 * n ** 3) / 1e9, run: () => product.run() },
    ],
    { rounds: 8, warmup: 3 },
  );
  model.dispose();
  product.dispose();
  const [mine, plain] = timings as [Timing, Timing];
  print(`\nnano-base, prefill of ${tokens} tokens (${(flop / 1e9).toFixed(2)} GFLOP)\n${ratios(timings)}`);
  print(goal('prefill as a share of the product', mine.best / plain.best, 0.7));
  return { tokens, gflop: flop / 1e9, timings };
}

const suite: Suite = {
  about: 'SmolLM2 against llama.cpp and onnxruntime-web, nano-base  (--tokens 512 --decode 64 --rounds 5 --exact)',
  async run(context) {
    const peak = await measurePeak();
    return { peak, smollm2: await smollm2(context, peak), nano: await nano(context) };
  },
};
export default suite;
