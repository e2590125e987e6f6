/**
 * What a configuration means, key by key: `test/oracles/config_corpus.py` had transformers read some 2,000 files over a few tiny weights.
 * Each is opened here, and must score the same tokens alike, or be refused with a code.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { EspalierError } from '../../src/errors.ts';
import { Decoder } from '../../src/model/decoder.ts';
import { scoreTokens } from '../../src/model/score.ts';
import { loadWeights } from '../../src/model/weights.ts';
import { Worst } from '../device/devices.ts';
import { readBytes, readText } from '../files.ts';

interface Case {
  readonly architecture: string;
  readonly case: string;
  readonly set?: Record<string, unknown>;
  readonly unset?: readonly string[];
  readonly text?: string;
  readonly keep?: readonly string[];
  readonly drop?: readonly string[];
  readonly rename?: readonly [pattern: string, by: string];
  /** Tensors beside: a name, and the tensor whose bytes it repeats. */
  readonly add?: readonly (readonly [name: string, of: string])[];
  readonly logprobs?: readonly number[];
  readonly error?: string;
  /** How many tensors of the file transformers leaves out, with a warning. */
  readonly unused?: number;
}
interface Corpus {
  readonly transformers: string;
  readonly ids: readonly number[];
  readonly drop: Readonly<Record<string, readonly string[]>>;
  readonly base: Readonly<Record<string, Record<string, unknown>>>;
  readonly cases: readonly Case[];
}

const FOLDER = 'test/fixtures/configs';
const corpus = JSON.parse(await readText(`${FOLDER}/corpus.json`)) as Corpus;
const device = await WasmDevice.create({ lanes: 1 });
const worst = new Worst();
const REFUSALS: ReadonlySet<string> = new Set([
  'E_CONFIG_INVALID',
  'E_ARCHITECTURE_UNSUPPORTED',
  'E_TENSOR_SHAPE',
  'E_TENSOR_MISSING',
]);

/** Cases that transformers computes and we refuse, and why; `*` is any architecture but those with an entry of their own, null: computed. */
const REFUSED: Readonly<Record<string, string | null>> = {
  'longrope *': 'frequencies that change with the length of the text',
  'proportional *': 'a RoPE of Gemma, which no published model of these classes has',
  'by layer types *': 'one RoPE a kind of layer, which these classes pass over',
  'base true *': 'a base of 1 turns nothing',
  'infinite base *': 'turns nothing but one pair',
  'base as a tagged float *': 'the same',
  'infinite eps *': 'all hidden states become 0',
  'yarn, attention factor of zero *': 'attention without positions',
  'act gelu *': 'another activation',
  'fewer layers *': 'the file holds more layers: their loss must not pass unnoticed',
  'qkv bias off qwen2_moe': 'the file holds biases that the configuration denies',
  'shared size absent granitemoeshared': 'the file holds a shared expert that the configuration denies',
  'window of zero mistral': 'no token sees any',
  'window of zero mixtral': 'no token sees any',
  'window negative mistral': 'no token sees any',
  'window negative mixtral': 'no token sees any',
  'proportional gemma3_text': null, // passed over: it stands where no kind of layer is
  'by layer types gemma3_text': null,
  'act gelu gemma3_text': null, // another key tells
  'window of zero gemma3_text': 'no token sees any',
  'window negative gemma3_text': 'no token sees any',
  'gate gelu gemma3_text': 'another activation',
  'unknown keys gemma3_text': 'logits that are capped',
  'cap of logits gemma3_text': 'logits that are capped',
  'cap of attention gemma3_text': 'passed over there, and capped by other programs',
  'both directions gemma3_text': 'tokens would see those behind them',
  'layer types, sliding, not used qwen2_moe': 'a window of zero',
  'layers of their own *': 'a configuration a layer',
  'not causal *': 'tokens would see those behind them',
  'multiplier negative granitemoeshared': 'turns the likeliest into the unlikeliest',
  'attention multiplier zero granitemoeshared': 'attention that looks at nothing',
  'no expert a token *': 'experts that no token visits',
};

/** Cases that transformers fails on and we compute, and why. */
const COMPUTED: Readonly<Record<string, string>> = {
  'head dim fractional *': '8.0 is 8: JSON has one kind of number',
  'layers fractional *': '3.0 is 3',
  'window fractional *': '5.0 is 5',
  'eos fractional *': '1.0 is 1',
  'pad beyond *': 'a padding token is never fed; it is ignored, and said to be',
  'byte order mark *': 'some editors write one',
  'pattern 1 without a window gemma3_text': 'no layer has one',
};

function listed(list: Readonly<Record<string, string | null>>, { case: name, architecture }: Case): boolean {
  const own = list[`${name} ${architecture}`];
  return Boolean(own === undefined ? list[`${name} *`] : own);
}

const files = new Map<string, Uint8Array>();

/** The weights of an architecture without some tensors, under other names. */
async function weights({ architecture, keep = [], drop = [], rename, add = [] }: Case): Promise<Uint8Array> {
  if (!files.has(architecture)) files.set(architecture, await readBytes(`${FOLDER}/${architecture}.safetensors`));
  const file = files.get(architecture)!;
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length))) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const some = (patterns: readonly string[], name: string) =>
    patterns.some((pattern) => new RegExp(pattern).test(name));
  const kept: Record<string, unknown> = {};
  const parts: Uint8Array[] = [];
  let at = 0;
  const put = (name: string, info: (typeof header)[string]) => {
    const [begin, end] = info.data_offsets;
    parts.push(file.subarray(8 + length + begin, 8 + length + end));
    kept[name] = { ...info, data_offsets: [at, at + end - begin] };
    at += end - begin;
  };
  for (const [name, info] of Object.entries(header)) {
    if (name === '__metadata__' || some(drop, name)) continue;
    if (some(corpus.drop[architecture]!, name) && !some(keep, name)) continue;
    put(rename ? name.replace(new RegExp(rename[0]), rename[1]) : name, info);
  }
  for (const [name, of] of add) put(name, header[of]!);
  const text = new TextEncoder().encode(JSON.stringify(kept));
  const out = new Uint8Array(8 + text.length + at);
  new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
  out.set(text, 8);
  let to = 8 + text.length;
  for (const part of parts) {
    out.set(part, to);
    to += part.length;
  }
  return out;
}

function configOf({ architecture, set = {}, unset = [], text }: Case): Uint8Array {
  if (text !== undefined) return new TextEncoder().encode(text);
  const config: Record<string, unknown> = { ...corpus.base[architecture], ...set };
  for (const key of unset) delete config[key];
  return new TextEncoder().encode(JSON.stringify(config));
}

const computed = new Map<string, number[]>();

async function compute(some: Case): Promise<number[]> {
  const checkpoint = await openCheckpoint({
    'config.json': configOf(some),
    'model.safetensors': await weights(some),
  });
  // many files mean the same
  const tensors = [...checkpoint.tensors.values()].map(({ name, offset }) => [name, offset]);
  const key = JSON.stringify([some.keep, some.drop, some.add, some.rename, checkpoint.config, tensors]);
  const before = computed.get(key);
  if (before) return before;
  const loaded = await loadWeights(device, checkpoint);
  const decoder = new Decoder(device, checkpoint.config, loaded, 'exact');
  try {
    const found = (await scoreTokens(decoder, corpus.ids)).slice(1).map(({ logprob }) => logprob!);
    computed.set(key, found);
    return found;
  } finally {
    decoder.dispose();
  }
}

for (const architecture of Object.keys(corpus.base)) {
  test(`${architecture}: every key as transformers ${corpus.transformers} reads it`, async () => {
    const wrong: string[] = [];
    let [done, refused] = [0, 0];
    for (const some of corpus.cases.filter((one) => one.architecture === architecture)) {
      const { case: name, logprobs, error } = some;
      let found: number[] | null = null;
      let code = '';
      try {
        found = await compute(some);
        done++;
      } catch (thrown) {
        if (!(thrown instanceof EspalierError)) throw thrown;
        code = thrown.code;
        refused++;
        if (!REFUSALS.has(code)) wrong.push(`${name}: ${thrown}`);
        if (logprobs && !listed(REFUSED, some)) wrong.push(`${name}: refused: ${thrown}`);
      }
      if (found && listed(REFUSED, some)) wrong.push(`${name}: computed, and should be refused`);
      if (found && error && !listed(COMPUTED, some)) wrong.push(`${name}: computed, but transformers: ${error}`);
      if (found && logprobs) {
        const size = Math.max(...logprobs.map(Math.abs));
        const off = Math.max(...found.map((value, i) => Math.abs(value - logprobs[i]!))) / size;
        if (!worst.within('log-probability', off, 2e-4)) wrong.push(`${name}: off by ${off.toExponential(1)}`);
      }
    }
    console.log(`  ${architecture}: ${done} computed, ${refused} refused`);
    assert.equal(wrong, []);
  });
}

test('the worst figures', () => {
  worst.print();
  device.close();
});

test.run();
