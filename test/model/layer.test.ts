/** One layer as a function: with buffers of its own it computes what the decoder computes with one set for all, and keeps them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Device, Tensor } from '../../src/device/device.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { decoderLayer } from '../../src/model/layer.ts';
import { keptBuffers } from '../../src/model/layer-buffers.ts';
import { layerFacts, stretches } from '../../src/model/layer-run.ts';
import { runAll } from './run.ts';
import { tinyDecoder, tinyReference } from './tiny.ts';

const device: Device = await WasmDevice.create();
const read = async (t: Tensor) => (await device.read(t)) as Float32Array;

for (const name of ['llama-bias', 'qwen2-window', 'smollm3', 'gemma3', 'moe-qwen2', 'moe-granite']) {
  test(`${name}: layers with buffers of their own`, async () => {
    const { ids } = await tinyReference(name);
    const decoder = await tinyDecoder(name, device, 'exact');
    const { config, weights } = decoder;
    const want = await runAll(decoder, ids);
    const mark = device.mark();
    const upload = (data: readonly number[], shape: readonly number[]) => {
      const tensor = device.scratch('i32', shape);
      device.write(tensor, Int32Array.from(data));
      return tensor;
    };
    const positions = upload([...ids.keys()], [ids.length, 1]);
    const inputs = { positions, mask: null, windowMask: null, split: null, routing: null };
    const cache = decoder.cache(ids.length);
    const tables = decoder.ropes.forward(ids.length);
    const sparse = new Set(config.moe?.layers);
    const all = Array.from({ length: config.nLayers }, (_, i) => {
      const hidden = device.scratch('f32', [ids.length, config.hiddenSize]);
      return keptBuffers(device, config, inputs, hidden, { dense: !sparse.has(i), mixture: sparse.has(i) });
    });
    device.embed(upload(ids, [ids.length]), weights.embedding, all[0]!.hidden);
    if (config.embeddingScale !== 1) device.scale(all[0]!.hidden, config.embeddingScale);
    const facts = layerFacts(config);
    for (const [i, b] of all.entries()) {
      const layer = await weights.layers.get(i);
      device.rmsNorm(b.hidden, layer.inputNorm, b.normed, config.rmsNormEps);
      decoderLayer(device, facts[i]!, layer, b, b, {
        index: i,
        sequences: [
          {
            keys: cache.keys(i),
            values: cache.values(i),
            stretches: stretches(undefined, 0, ids.length, 0),
            first: 0,
            count: ids.length,
            base: 0,
            position: 0,
          },
        ],
        alone: false,
        table: tables[i]!,
        splitFactor: 1,
        precision: 'exact',
        firstRow: 0,
        hooks: {},
      });
      const next = all[i + 1]?.hidden ?? device.scratch('f32', b.hidden.shape);
      device.copyRows(b.middle, next, 0);
      device.add(b.feedForwardOut, next);
      assert.equal(await read(next), want.hidden[i + 1]!, `after layer ${i}`);
    }
    // what a way back needs is still there when all layers have run
    for (const [i, b] of all.entries()) {
      assert.equal(await read(b.hidden), want.hidden[i]!, `before layer ${i}`);
      const layer = await weights.layers.get(i);
      for (const [x, norm, y] of [
        [b.hidden, layer.inputNorm, b.normed],
        [b.middle, layer.feedForwardNorm, b.feedForwardIn],
      ] as const) {
        const again = device.scratch('f32', x.shape);
        device.rmsNorm(x, norm, again, config.rmsNormEps);
        assert.equal(await read(y), await read(again), `norms of layer ${i}`);
      }
      for (const [x, norm, y, layout] of [
        [b.qProjected, layer.qNorm, b.q, facts[i]!.queryLayout],
        [b.kProjected, layer.kNorm, b.k, facts[i]!.keyLayout],
      ] as const) {
        if (!norm) continue;
        const again = device.scratch('f32', x.shape);
        device.rmsNorm(x, norm, again, config.rmsNormEps);
        if (tables[i]) device.rope(again, tables[i]!, positions, layout);
        assert.equal(await read(y), await read(again), `queries and keys of layer ${i}`);
      }
      if (layer.postFeedForwardNorm) {
        const again = device.scratch('f32', b.feedForwardOut.shape);
        device.rmsNorm(b.feedForwardProjected, layer.postFeedForwardNorm, again, config.rmsNormEps);
        assert.equal(await read(b.feedForwardOut), await read(again), `norm behind the feed-forward of layer ${i}`);
      }
      for (const inner of [b.dense, b.mixture, b.mixture?.shared]) {
        if (!inner) continue;
        const { gate, up, product } = inner;
        const again = device.scratch('f32', gate.shape);
        device.gatedActivation(facts[i]!.activation, gate, up, again);
        assert.equal(await read(product), await read(again), `feed-forward of layer ${i}`);
      }
      if (b.mixture?.sharedGate) {
        const { sharedGate, sharedProjected, sharedOut } = b.mixture;
        const again = device.scratch('f32', sharedOut!.shape);
        device.copyRows(sharedProjected!, again, 0);
        device.sigmoidScale(sharedGate, again);
        assert.equal(await read(sharedOut!), await read(again), `shared expert of layer ${i}`);
      }
    }
    device.reset(mark);
    cache.dispose();
    decoder.dispose();
  });
}

test('no tensor is left', () => {
  assert.is(device.stats().tensors, 0);
  device.close();
});

test.run();
