/**
 * Writes adapters with our logits, to be loaded into peft by hand: FOLDER/NAME/ and FOLDER/NAME.safetensors (ids, logits) for each of
 * test/fixtures/lora, and prints the commands.
 *
 * usage: node --import tsx test/model/written-adapters.ts FOLDER
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { planShards } from '../../src/checkpoint/write/shards.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { adapted, loraNames, loraReference, writtenAgain } from './lora-fixtures.ts';
import { logitsOf } from './tiny.ts';

const folder = process.argv[2];
if (folder === undefined) throw new Error('usage: written-adapters.ts FOLDER');
const device = await WasmDevice.create();
for (const name of loraNames) {
  const { ids, base } = await loraReference(name);
  const files = await writtenAgain(name, device, 'f32');
  mkdirSync(`${folder}/${name}`, { recursive: true });
  for (const [file, bytes] of Object.entries(files)) writeFileSync(`${folder}/${name}/${file}`, bytes);
  const decoder = await adapted(base, device, [{ from: files }]);
  const cache = decoder.cache();
  const logits = await logitsOf(decoder, cache, ids);
  const shape = [ids.length, decoder.config.vocabSize];
  cache.dispose();
  decoder.dispose();
  const tensors = [
    { name: 'ids', type: 'f32', shape: [ids.length] },
    { name: 'logits', type: 'f32', shape },
  ] as const;
  const [{ header }] = planShards([{ tensors }]) as [ReturnType<typeof planShards>[0]];
  const bytes = (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  writeFileSync(
    `${folder}/${name}.safetensors`,
    [header, bytes(Float32Array.from(ids)), bytes(logits)].reduce((a, b) => Buffer.concat([a, b]), Buffer.alloc(0)),
  );
  console.log(
    `python test/oracles/lora.py --check ${folder}/${name} test/fixtures/tiny/${base} ${folder}/${name}.safetensors`,
  );
}
device.close();
