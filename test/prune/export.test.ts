/** An adapter that forgets as folders of PEFT: what `static` computes, that nothing of it is lost, and what is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GATE_KINDS } from '../../src/checkpoint/adapter/gate-kinds.ts';
import { openLocal } from '../../src/local.ts';
import { exportAdapter, meanCoefficients, rollback, routedFiles } from '../../src/prune.ts';
import { memoryOutput } from '../../src/runtime/output/memory.ts';
import { Worst } from '../device/devices.ts';
import { tinyFiles } from '../engine/tiny-model.ts';
import { rejects } from '../errors.ts';
import { constant, filesOf, routedAdapter } from '../model/routed-fixture.ts';

const TEXT = 'Once upon a time, there was';
const PARTS = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;
const base = await tinyFiles();
const { config } = await openLocal(base);

/** Its folders, each with its files. */
async function exported(adapter: Record<string, Uint8Array>, coefficients?: readonly number[]) {
  const out = memoryOutput('out');
  const told = await exportAdapter(base, { adapter, out, ...(coefficients && { coefficients }) });
  const folders: Record<string, Record<string, Uint8Array>> = {};
  for (const [path, blob] of Object.entries(out.result())) {
    const [folder, name] = path.split('/') as [string, string];
    folders[folder] ??= {};
    folders[folder][name] = new Uint8Array(await blob.arrayBuffer());
  }
  return { told, folders };
}

/** Bytes of each tensor of a safetensors file, its type and its shape. */
function tensors(file: Uint8Array): Map<string, string> {
  const size = new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + size)));
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== '__metadata__')
      .map(([name, value]) => {
        const { dtype, shape, data_offsets } = value as { dtype: string; shape: number[]; data_offsets: number[] };
        const [from, to] = data_offsets as [number, number];
        return [name, `${dtype} ${shape} ${file.subarray(8 + size + from, 8 + size + to)}`];
      }),
  );
}

async function logprobs(from: Record<string, Uint8Array>): Promise<number[]> {
  const model = await openLocal(base, { precision: 'exact', adapters: [{ from }] });
  const scored = (await model.score(TEXT)).slice(1).map(({ logprob }) => logprob!);
  model.close();
  return scored;
}

const worst = new Worst();

test('static computes what the experts do at these coefficients', async () => {
  const coefficients = [0.3, 0.55];
  const fixed = filesOf(routedFiles(constant(routedAdapter(config, { parts: PARTS }), coefficients)));
  const { told, folders } = await exported(fixed, coefficients);
  assert.equal(told.coefficients, coefficients);
  const [want, got] = [await logprobs(fixed), await logprobs(folders['static']!)];
  for (const [i, value] of want.entries()) {
    assert.ok(worst.within('of log-probabilities', Math.abs(got[i]! - value), 1e-5), `${i}`);
  }
  // and not whatever it is told
  const other = await logprobs((await exported(fixed, [0.3, 0.2])).folders['static']!);
  assert.ok(other.some((value, i) => Math.abs(value - want[i]!) > 1e-3));
});

for (const kind of GATE_KINDS) {
  test(`${kind}: folders, gate and rule are all of the adapter, byte for byte`, async () => {
    const adapter = routedAdapter(config, { kind, rule: { ...routedAdapter(config).rule, strength: 0.8 } });
    const files = filesOf(routedFiles(adapter));
    const { told, folders } = await exported(files);
    assert.equal(Object.keys(folders), ['retain', 'forget-1', 'forget-2', 'static', 'alter']);
    const of = new Map(Object.entries(folders).map(([name, own]) => [name, own['adapter_model.safetensors']]));
    const parts = (folder: string) => tensors(of.get(folder)!);
    const again = new Map(tensors(folders['alter']!['router.safetensors']!));
    for (const [folder, as] of [
      ['retain', 'retain'],
      ['forget-1', 'forget.0'],
      ['forget-2', 'forget.1'],
    ] as const) {
      for (const [name, value] of parts(folder)) {
        const module = name.replace(/^base_model\.model\./, '');
        const key = module.replace(/lora_B\.weight$/, `lora_B.${as}.weight`);
        assert.is(again.get(key) ?? value, value); // A is in each folder
        again.set(key, value);
      }
    }
    const want = tensors(files['alter.safetensors']!);
    assert.equal([...again].sort(), [...want].sort());
    const json = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes));
    const [own, alter] = [json(folders['alter']!['config.json']!), json(files['alter.json']!)];
    for (const key of ['base', 'rank', 'scale', 'gate', 'rule']) assert.equal(own[key], alter[key], key);
    assert.equal(
      own.experts.map(({ folder: _, ...rest }: { folder: string }) => rest),
      alter.experts,
    );
    assert.equal([own.static.coefficients, own.experts[1].folder], [[0.8, 0.8], 'forget-2']);
    assert.equal(told.coefficients, [0.8, 0.8]);
    assert.equal(
      told.files.map(({ name, bytes }) => [name, bytes]),
      Object.entries(folders).flatMap(([folder, list]) =>
        Object.entries(list).map(([name, bytes]) => [`${folder}/${name}`, bytes.length]),
      ),
    );
  });
}

test('mean coefficients are those where learned tokens are predicted', async () => {
  const texts = ['abc defg hi', 'Once upon a time'];
  const open = (from: Record<string, Uint8Array>) => openLocal(base, { precision: 'exact', adapters: [{ from }] });
  const sequencesOf = (model: Awaited<ReturnType<typeof open>>) =>
    texts.map((text) => {
      const ids = Int32Array.from(model.encode(text));
      return { ids, learned: Uint8Array.from(ids, (_, t) => (t > 3 && t % 3 > 0 ? 1 : 0)) };
    });
  const constants = [0.3, 0.55];
  const fixed = await open(filesOf(routedFiles(constant(routedAdapter(config), constants))));
  const same = await meanCoefficients(fixed, sequencesOf(fixed));
  for (const [i, value] of same.entries()) {
    assert.ok(worst.within('of constant coefficients', Math.abs(value - constants[i]!), 1e-6), `${value}`);
  }
  fixed.close();
  const model = await open(
    filesOf(routedFiles(routedAdapter(config, { rule: { ...routedAdapter(config).rule, cut: 0.1 } }))),
  );
  const sums = [0, 0];
  let count = 0;
  for (const { ids, learned } of sequencesOf(model)) {
    const scored = await model.score([...ids], { routing: true });
    for (const [t, is] of learned.entries()) {
      if (is === 0) continue;
      count++;
      for (const [i, value] of scored[t - 1]!.routing!.coefficients.entries()) sums[i]! += value;
    }
  }
  const want = sums.map((sum) => sum / count);
  assert.ok(want.every((value) => value > 0) && Math.abs(want[0]! - want[1]!) > 1e-3, `${want}`);
  assert.equal(await meanCoefficients(model, sequencesOf(model)), want);
  const none = sequencesOf(model).map(({ ids }) => ({ ids, learned: new Uint8Array(ids.length) }));
  await rejects('E_DATA_INVALID', () => meanCoefficients(model, none));
  model.close();
  const plain = await openLocal(base);
  await rejects('E_ADAPTER', () => meanCoefficients(plain, sequencesOf(plain as typeof model)));
  plain.close();
});

test('what earlier jobs have left is no part of it, and what they can go on with stays', async () => {
  const adapter = filesOf(routedFiles(routedAdapter(config)));
  const names = async (out: ReturnType<typeof memoryOutput>) => Object.keys(out.result()).sort();
  const clean = memoryOutput('clean');
  await exportAdapter(base, { adapter, out: clean });
  const out = memoryOutput('out');
  for (const name of ['alter.json', 'config.json', 'static/adapter_model.safetensors', 'old/adapter_config.json']) {
    await out.writeBytes(name, new Uint8Array(3));
  }
  await exportAdapter(base, { adapter, out });
  assert.equal(await names(out), await names(clean));
  const half = memoryOutput('half');
  await half.writeBytes('espalier-training-000007.json', new Uint8Array(3));
  const made = routedAdapter(config);
  // of two requests one can be taken back
  const experts = made.experts.map(({ name }, i) => ({ name, request: `request ${i}` }));
  const two = filesOf(routedFiles({ ...made, experts }));
  for (const job of [
    () => exportAdapter(base, { adapter, out: half }),
    () => rollback(base, { adapter: two, request: 'request 1', out: half }),
  ]) {
    const error = await rejects('E_ARGUMENT', job);
    assert.match(error.message, /half has the work of another job/, `${error.message} ${error.hint}`);
    assert.not.match(error.hint, 'restart');
    assert.is(await half.size('espalier-training-000007.json'), 3);
  }
});

test('what is wrong has a code, and nothing is written', async () => {
  const adapter = filesOf(routedFiles(routedAdapter(config)));
  const out = memoryOutput('out');
  await rejects('E_ARGUMENT', () => exportAdapter(base, { adapter, out, coefficients: [1] }));
  await rejects('E_ARGUMENT', () => exportAdapter(base, { adapter, out, coefficients: [1, Number.NaN] }));
  await rejects('E_ARGUMENT', () => exportAdapter(base, { adapter } as never));
  await rejects('E_ARGUMENT', () => exportAdapter(base, { out } as never));
  await rejects('E_ARGUMENT', () => exportAdapter(base, { adapter, out, strength: 1 } as never));
  const other = await tinyFiles('gemma3');
  await rejects('E_ADAPTER', () => exportAdapter(other, { adapter, out }));
  assert.is(await out.size('static/adapter_config.json'), null);
});

test.after(() => worst.print());
test.run();
