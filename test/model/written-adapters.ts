/**
 * Writes adapters with our logits, to be loaded into peft by hand: FOLDER/NAME/ and FOLDER/NAME.safetensors (ids, logits) for each of
 * test/fixtures/lora, and for static/ of adapters whose experts act by position, as `exportAdapter` writes them, with logits of the experts at constant
 * coefficients. Prints the commands.
 *
 * usage: node --import tsx test/model/written-adapters.ts FOLDER
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { routedFiles } from '../../src/checkpoint/adapter/routed-write.ts';
import { tensorFile } from '../../src/checkpoint/adapter/write.ts';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { exportAdapter } from '../../src/prune/adapter/export.ts';
import { adapted, loraNames, loraReference, writtenAgain } from './lora-fixtures.ts';
import { constant, filesOf, routedAdapter } from './routed-fixture.ts';
import { logitsOf, tinyReference, tinyTarget } from './tiny.ts';

const folder = process.argv[2];
if (folder === undefined) throw new Error('usage: written-adapters.ts FOLDER');
const device = await WasmDevice.create();
/** @param given what our logits are of */
async function write(
  name: string,
  base: string,
  ids: readonly number[],
  files: Readonly<Record<string, Uint8Array>>,
  given = files,
): Promise<void> {
  mkdirSync(`${folder}/${name}`, { recursive: true });
  for (const [file, bytes] of Object.entries(files)) writeFileSync(`${folder}/${name}/${file}`, bytes);
  const decoder = await adapted(base, device, [{ from: given }]);
  const cache = decoder.cache();
  const logits = await logitsOf(decoder, cache, ids);
  const shape = [ids.length, decoder.config.vocabSize];
  cache.dispose();
  decoder.dispose();
  const bytes = tensorFile([
    { name: 'ids', type: 'f32', shape: [ids.length], values: Float32Array.from(ids) },
    { name: 'logits', type: 'f32', shape, values: logits },
  ]);
  writeFileSync(`${folder}/${name}.safetensors`, bytes);
  console.log(
    `python test/oracles/lora.py --check ${folder}/${name} test/fixtures/tiny/${base} ${folder}/${name}.safetensors`,
  );
}

for (const name of loraNames) {
  const { ids, base } = await loraReference(name);
  await write(name, base, ids, await writtenAgain(name, device, 'f32'));
}
const parts = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;
for (const base of ['llama-gqa', 'gemma3', 'qwen2', 'moe-granite', 'moe-qwen2']) {
  const checkpoint = await openCheckpoint(await tinyTarget(base));
  const { ids } = await tinyReference(base);
  const coefficients = [0.3, 0.55];
  const adapter = constant(routedAdapter(checkpoint.config, { parts }), coefficients);
  const files = filesOf(routedFiles(adapter));
  const out = `${folder}/routed-${base}`;
  await exportAdapter(await tinyTarget(base), { adapter: files, coefficients, out });
  await write(`routed-${base}/static`, base, ids, {}, files);
  await checkpoint.close();
}
device.close();
