/** alter.json and alter.safetensors: written, read, written again; what is damaged, foreign or of another time is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GATE_KINDS } from '../../src/checkpoint/adapter/gate-kinds.ts';
import { bindRouted, openAnyAdapter } from '../../src/checkpoint/adapter/routed.ts';
import { readRouted, routedFiles, type WrittenRouted } from '../../src/checkpoint/adapter/routed-write.ts';
import { factorValues } from '../../src/checkpoint/adapter/values.ts';
import { tensorFile } from '../../src/checkpoint/adapter/write.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { readSafetensors } from '../../src/checkpoint/safetensors/safetensors.ts';
import { inspectAdapter } from '../../src/inspect.ts';
import { bytesSource } from '../../src/runtime/files/model-files.ts';
import { code, rejects } from '../errors.ts';
import { filesOf, RANK, routedAdapter } from '../model/routed-fixture.ts';
import { tinyTarget } from '../model/tiny.ts';

async function configOf(name: string) {
  const checkpoint = await openCheckpoint(await tinyTarget(name));
  await checkpoint.close();
  return checkpoint.config;
}
const config = await configOf('llama-gqa');
const BASE = { name: 'llama-gqa', config };
const adapter = routedAdapter(config);
const good = filesOf(routedFiles(adapter));
type Json = Record<string, unknown>;
const json = JSON.parse(new TextDecoder().decode(good['alter.json'])) as Json;

/** The files with other keys in alter.json; undefined takes one out. */
const saying = (change: Json): Record<string, Uint8Array> => ({
  ...good,
  'alter.json': new TextEncoder().encode(JSON.stringify({ ...json, ...change })),
});

/** The files with other tensors; null takes one out. */
async function holding(change: Readonly<Record<string, { shape: number[]; values: Float32Array } | null | undefined>>) {
  const { tensors } = await readSafetensors(bytesSource('w', good['alter.safetensors']!));
  const list = [];
  for (const [name, entry] of tensors) {
    if (name in change) continue;
    list.push({ name, type: 'f32' as const, shape: entry.shape, values: (await factorValues(entry)).values });
  }
  for (const [name, given] of Object.entries(change)) if (given) list.push({ name, type: 'f32' as const, ...given });
  return { ...good, 'alter.safetensors': tensorFile(list) };
}

async function bound(files: Record<string, Uint8Array>, base = BASE) {
  const opened = await openAnyAdapter(files);
  try {
    if (opened.kind !== 'routed') throw new Error('a plain one');
    return { opened, ...bindRouted(opened, base) };
  } finally {
    await opened.close();
  }
}

test('what is written is read, and written again in the same bytes', async () => {
  const { opened, modules, notes } = await bound(good);
  assert.equal([notes, opened.notes], [[], []]);
  assert.equal(opened.config.rule, adapter.rule);
  assert.equal(opened.config.experts, adapter.experts);
  assert.is(modules.length, 4 * config.nLayers);
  assert.equal(modules[0]!.a.shape, [RANK, config.intermediateSize === 0 ? 0 : config.hiddenSize]);
  for (const name of ['llama-gqa', 'moe-granite', 'moe-qwen2']) {
    const base = { name, config: await configOf(name) };
    const files = routedFiles(routedAdapter(base.config, { base: 'owner/name', experts: 3 }));
    const again = routedFiles(await readRouted(filesOf(files), base));
    assert.equal([...again.keys()], ['alter.json', 'alter.safetensors']);
    for (const [file, bytes] of files) assert.equal(again.get(file), bytes, `${name}: ${file}`);
  }
});

test('every kind of gate is written and read, with its own keys and weights', async () => {
  for (const kind of GATE_KINDS) {
    const own = routedAdapter(config, { kind });
    const files = filesOf(routedFiles(own));
    const read = await readRouted(files, BASE);
    assert.equal(read.gate, own.gate);
    assert.equal(filesOf(routedFiles(read)), files);
    const { opened } = await bound(files);
    const { hiddenSize: hidden } = config;
    const said = {
      global: { kind, hidden, units: 6 },
      hidden: { kind, hidden },
      both: { kind, hidden },
      literal: { kind },
    };
    assert.equal(opened.config.gate, said[kind]);
    assert.equal(opened.notes, []);
    const report = await inspectAdapter(files);
    assert.equal([report.format, report.gate], ['alter', said[kind]]);
    // the weights of another kind
    for (const other of GATE_KINDS) {
      if (other === kind) continue;
      const text = filesOf(routedFiles(routedAdapter(config, { kind: other })))['alter.json']!;
      await rejects('E_ADAPTER', () => openAnyAdapter({ ...files, 'alter.json': text }));
    }
    const headless = { name: 'headless', config: { ...config, headless: true } };
    const certain = filesOf(routedFiles({ ...own, rule: { ...own.rule, cut: null } }));
    if (kind === 'global' || kind === 'hidden') await bound(certain, headless);
    else assert.match((await rejects('E_ADAPTER', () => bound(certain, headless))).message, /needs entropies/);
    const wider = { name: 'wider', config: { ...config, hiddenSize: config.hiddenSize + 1 } };
    await rejects('E_ADAPTER', () => bound(files, wider));
  }
  const more = await openAnyAdapter(saying({ gate: { ...(json['gate'] as Json), wonder: 1 } }));
  await more.close();
  assert.match(more.notes.join(), /nothing is made of gate\.wonder in alter\.json/);
});

test('another cut, or none; names that are there; 16 bits', async () => {
  const rule = { ...adapter.rule, cut: null, path: 'tr', alignment: 'lagged' } as const;
  const { opened } = await bound(filesOf(routedFiles({ ...adapter, rule, base: 'owner/other', type: 'bf16' })));
  assert.equal(opened.config.rule, rule);
  assert.is(opened.modules[0]!.a.type, 'bf16');
  const { notes } = await bound(filesOf(routedFiles({ ...adapter, base: 'owner/other' })));
  assert.match(notes.join(), /trained on owner\/other, and fits llama-gqa/);
  const more = await bound(saying({ wonder: 1 }));
  assert.match(more.opened.notes.join(), /nothing is made of wonder in alter\.json/);
});

test('alter.json is checked key by key', async () => {
  const { rule, gate, experts } = json as { rule: Json; gate: Json; experts: Json[] };
  const wrong: Json[] = [
    ...Object.keys(json).map((key) => ({ [key]: undefined })),
    ...Object.keys(rule).map((key) => ({ rule: { ...rule, [key]: undefined } })),
    ...Object.keys(gate).map((key) => ({ gate: { ...gate, [key]: undefined } })),
    ...[{ format: 'other' }, { version: 0 }, { version: 1.5 }, { version: '1' }, { base: 3 }],
    ...[{ rank: 0 }, { rank: 1.5 }, { scale: 0 }, { scale: '1' }, { scale: 1e300 }, { gate: [] }, { rule: null }],
    ...[[], {}, 'a', [3], [null], [{ name: 'a' }], [{ request: 'a' }], [{ name: '', request: 'a' }]].map((experts) => {
      return { experts };
    }),
    { experts: [{ ...experts[0] }, { ...experts[0] }] },
    { experts: [{ name: 'x'.repeat(201), request: 'a' }, experts[1]] },
    ...[{ path: 'up' }, { cut: -1 }, { cut: '1' }, { order: 0 }, { order: -1 }, { alignment: 3 }].map((change) => {
      return { rule: { ...rule, ...change } };
    }),
    ...[{ temperature: 0 }, { most: 0 }, { most: 1.5 }, { strength: null }].map((change) => ({
      rule: { ...rule, ...change },
    })),
    ...[{ units: 0 }, { kind: 'site' }, { kind: 3 }, { hidden: 0 }].map((change) => ({ gate: { ...gate, ...change } })),
    ...[{ kind: 'hidden' }, { kind: 'both' }].map((gate) => ({ gate })),
  ];
  for (const change of wrong) {
    const { message } = await rejects('E_CONFIG_INVALID', () => openAnyAdapter(saying(change)));
    // of several adapters, which
    assert.match(message, '/alter.json');
  }
  const later = await rejects('E_ADAPTER', () => openAnyAdapter(saying({ version: 2 })));
  assert.match(later.message, /version 2/);
  const twice = new TextEncoder().encode('{"format": "espalier-alter", "format": "espalier-alter"}');
  for (const bytes of [twice, new Uint8Array(), new TextEncoder().encode('[]'), new Uint8Array(50).fill(91)]) {
    await rejects('E_CONFIG_INVALID', () => openAnyAdapter({ ...good, 'alter.json': bytes }));
  }
});

test('tensors are those of alter.json, no more and no less', async () => {
  const at = 'model.layers.0.self_attn.q_proj.lora_';
  const [a, b] = [`${at}A.weight`, `${at}B.forget.1.weight`];
  const values = (...shape: number[]) => ({ shape, values: new Float32Array(shape.reduce((x, y) => x * y, 1)) });
  const n = config.nHeads * config.headDim;
  for (const change of [
    { [a]: null },
    { [b]: null },
    { [`${at}B.retain.weight`]: null },
    { [`${at}B.forget.2.weight`]: values(n, RANK) },
    { stranger: values(1) },
    { [b]: values(n, RANK + 1) },
    { [b]: values(n - 1, RANK) },
    { [b]: values(n * RANK) },
    { [a]: values(RANK + 1, config.hiddenSize) },
    { [a]: values(RANK * config.hiddenSize) },
    { [a]: values(0, config.hiddenSize) },
    { 'gate.mean': null },
    { 'gate.bias': values(7) },
    { 'gate.outBias': values(2) },
    { 'gate.out': values(6, 3) },
    { 'gate.more': values(1) },
  ]) {
    await rejects('E_ADAPTER', async () => openAnyAdapter(await holding(change)));
  }
  for (const change of [
    { rank: 2 },
    { rank: 6 },
    { experts: [{ name: 'a', request: 'b' }] },
    { gate: { kind: 'global', hidden: 2, units: 6 } },
  ]) {
    await rejects('E_ADAPTER', () => openAnyAdapter(saying(change)));
  }
  // nothing but the gate
  const { tensors } = await readSafetensors(bytesSource('w', good['alter.safetensors']!));
  const none = Object.fromEntries(
    [...tensors.keys()].filter((name) => !name.startsWith('gate.')).map((name) => [name, null]),
  );
  await rejects('E_ADAPTER', async () => openAnyAdapter(await holding(none)));
  const { 'alter.json': text, 'alter.safetensors': weights } = good as { [name: string]: Uint8Array };
  await rejects('E_ADAPTER', () => openAnyAdapter({ 'alter.json': text! }));
  await rejects('E_ADAPTER', () => openAnyAdapter({ 'alter.safetensors': weights! }));
  for (const length of [0, 7, 100, weights!.length - 1]) {
    const cut = { ...good, 'alter.safetensors': weights!.slice(0, length) };
    const failed = await openAnyAdapter(cut).then(
      () => 'nothing',
      (error) => error.code as string,
    );
    assert.match(failed, /^E_CHECKPOINT_/);
  }
  const header = new TextDecoder('latin1').decode(weights);
  const other = Uint8Array.from(header.replace('"F32"', '"I32"'), (letter) => letter.charCodeAt(0));
  await rejects('E_TENSOR_TYPE', () => openAnyAdapter({ ...good, 'alter.safetensors': other }));
});

test('another base is refused, and a cut that it cannot reach', async () => {
  for (const name of ['qwen3', 'gemma3', 'moe-qwen2']) {
    const error = await rejects('E_ADAPTER', async () => bound(good, { name, config: await configOf(name) }));
    assert.match(error.message, /another model/);
  }
  const rule = (change: object) => saying({ rule: { ...adapter.rule, ...change } });
  // 1 - 1/V is the most of order 2
  const error = await rejects('E_ADAPTER', () => bound(rule({ order: 2, cut: 1.2 })));
  assert.match(error.message, /no entropy of order 2/);
  await bound(rule({ order: 2, cut: 0.9 }));
  await bound(rule({ order: 2, cut: null }));
  const headless = { name: 'headless', config: { ...config, headless: true } };
  await rejects('E_ADAPTER', () => bound(good, headless));
  await bound(rule({ cut: null }), headless);
  const wide = await holding({
    'model.layers.0.self_attn.q_proj.lora_A.weight': {
      shape: [2 * RANK, config.hiddenSize],
      values: new Float32Array(2 * RANK * config.hiddenSize),
    },
    ...Object.fromEntries(
      ['retain', 'forget.0', 'forget.1'].map((of) => {
        const shape = [config.nHeads * config.headDim, 2 * RANK];
        return [
          `model.layers.0.self_attn.q_proj.lora_B.${of}.weight`,
          { shape, values: new Float32Array(shape[0]! * shape[1]!) },
        ];
      }),
    ),
  });
  await rejects('E_ADAPTER', () => bound(wide));
});

test('what could not be read is not written', () => {
  const [first, ...others] = adapter.factors;
  const wrong = (change: Partial<WrittenRouted>, want: string) =>
    assert.throws(() => routedFiles({ ...adapter, ...change }), code(want));
  wrong({ factors: [] }, 'E_ADAPTER');
  wrong({ factors: [{ ...first!, forget: first!.forget.slice(1) }, ...others] }, 'E_ADAPTER');
  wrong({ factors: [{ ...first!, layer: 99 }, ...others] }, 'E_ADAPTER');
  wrong({ rank: 2 }, 'E_ADAPTER');
  const { gate } = adapter;
  if (gate.kind !== 'global') throw new Error('another gate');
  wrong({ gate: { ...gate, out: new Float32Array(3) } }, 'E_ADAPTER');
  wrong({ gate: { ...gate, mean: gate.mean.slice().fill(Number.NaN) } }, 'E_TENSOR_VALUE');
  wrong({ gate: { kind: 'literal', entropy: new Float32Array(2) } }, 'E_ADAPTER');
  wrong({ rule: { ...adapter.rule, temperature: 0 } }, 'E_CONFIG_INVALID');
  wrong({ scale: Number.NaN }, 'E_CONFIG_INVALID');
});

test.run();
