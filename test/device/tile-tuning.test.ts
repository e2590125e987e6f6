// device: webgpu — tiles are a GPU's
/** Which tile a product is computed by, and how fast each is: whatever is measured, bits stay what they are. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GpuContext } from '../../src/device/webgpu/context.ts';
import type { WebGpuDeviceOptions } from '../../src/device/webgpu/options.ts';
import type { GpuParts } from '../../src/device/webgpu/tensor-store.ts';
import type { TileRates } from '../../src/device/webgpu/tile.ts';
import { chooseShares, chooseTile, fits, TILES } from '../../src/device/webgpu/tile-shape.ts';
import { measureTiles, tune } from '../../src/device/webgpu/tile-tuning.ts';
import { WebGpuDevice } from '../../src/device/webgpu/webgpu-device.ts';
import { put, testNothingLeft, testsOn, Worst } from './devices.ts';
import { product, randomF32, worstError } from './reference.ts';

class Opened extends WebGpuDevice {
  static override async create(given: WebGpuDeviceOptions = {}): Promise<Opened> {
    return WebGpuDevice.start(given, (...start) => new Opened(...start));
  }
  get inner(): GpuParts {
    return this.parts();
  }
}

const device = await Opened.create({ debug: true });
const { context } = device.inner;
/** A program that plays a GPU takes minutes to compile the large ones. */
const mine = TILES.filter((tile) => fits(context.traits, tile) && (!context.facts.fallback || tile.m * tile.n <= 1024));
const on = testsOn('webgpu', device);
const worst = new Worst();

/** As if this tile were a thousand times as fast as the others. */
const favouring = (i: number): TileRates => ({
  rates: new Map(TILES.map((tile) => [tile, tile === mine[i] ? 1 : 1e-3])),
  units: 16,
});

on('a tile is chosen by its rate, and shares of k are not', async () => {
  const { traits } = context;
  for (const i of mine.keys()) {
    const gpu = { traits, tiles: favouring(i) };
    assert.is(chooseTile(gpu, 4096, 4096), mine[i]);
    for (const [m, n, k] of [
      [4096, 4096, 64],
      [64, 96, 8192],
      [576, 1536, 20_000],
      [5, 7, 1000],
    ] as const) {
      const usual = chooseShares({ traits, tiles: null }, m, n, k);
      assert.is(chooseShares(gpu, m, n, k).share, usual.share, `${m}x${n}x${k}`);
      assert.is(chooseShares(gpu, m, n, k).tile, chooseTile(gpu, m, n, Math.ceil(k / usual.share)));
    }
  }
});

on('every tile gives the same bits, and a plain program nearly', async () => {
  const [m, n, k] = [70, 132, 600];
  const [a, b] = [put(device, [m, k], randomF32(m * k, 1)), put(device, [n, k], randomF32(n * k, 2))];
  const c = device.tensor('f32', [m, n]);
  let first: Float32Array | null = null;
  try {
    for (const i of mine.keys()) {
      context.tiles = favouring(i);
      device.matmul(a, b, c, { transposeB: true });
      const got = ((await device.read(c)) as Float32Array).slice();
      first ??= got;
      assert.equal(got, first, `tile ${i}`);
    }
  } finally {
    context.tiles = null;
  }
  const error = worstError(first!, product(m, n, k, randomF32(m * k, 1), randomF32(n * k, 2), { transposeB: true }));
  assert.ok(worst.within('product', error, 1e-6), `${error}`);
  for (const t of [a, b, c]) t.dispose();
});

on('tiles are measured: the fastest of them is 1, and memory is given back', async () => {
  const begin = performance.now();
  const rates = (await measureTiles(device.inner, device, mine, () => false))!;
  console.log(
    `  measured in ${((performance.now() - begin) / 1000).toFixed(1)} s: ${mine.map((tile) => `${tile.m}x${tile.n} ${rates.rates.get(tile)!.toFixed(2)}`).join(', ')}; ${rates.units} at once`,
  );
  assert.equal([...rates.rates.keys()], mine);
  const all = [...rates.rates.values()];
  assert.is(Math.max(...all), 1);
  assert.ok(all.every((rate) => rate > 0));
  assert.is(await measureTiles(device.inner, device, mine, () => true), null, 'nobody needs it');
  assert.ok(rates.units >= 4 && rates.units <= 512 && Number.isInteger(Math.log2(rates.units)));
});

/** The same GPU as if it were none that a program plays, with workgroup memory for small tiles. */
const real = (name: string, alone = false): GpuContext =>
  Object.create(context, {
    facts: { value: { ...context.facts, name, fallback: false } },
    traits: { value: { ...context.traits, workgroupBytes: 6000 } },
    alone: { value: alone },
    tiles: { value: null, writable: true },
  }) as GpuContext;

on('a GPU is measured once by its name, not for nobody, and not for a program', async () => {
  let opened = 0;
  const open = async () => {
    opened++;
    const trial = await Opened.create();
    return { device: trial, parts: trial.inner };
  };
  await tune(context, open);
  assert.is(opened, 0, 'a program plays it');
  const unneeded = real('one GPU', true);
  await tune(unneeded, open);
  assert.is(unneeded.tiles, null);
  const broken = real('one GPU');
  await tune(broken, () => Promise.reject(new Error('no memory')));
  assert.is(broken.tiles, null);
  const [first, second, other] = [real('one GPU'), real('one GPU'), real('')];
  for (const one of [first, second, other]) await tune(one, open);
  assert.is(opened, 3);
  assert.is(first.tiles?.rates.size, 3);
  assert.is(second.tiles, first.tiles);
  assert.is.not(other.tiles, first.tiles);
});

on('tiles are measured once there are many products by tiles, and once', async () => {
  let asked = 0;
  context.tune = async () => void asked++;
  const [a, b] = [put(device, [40, 16], randomF32(640, 1)), put(device, [40, 16], randomF32(640, 2))];
  const c = device.tensor('f32', [40, 40]);
  const some = async (count: number) => {
    for (let i = 0; i < count; i++) device.matmul(a, b, c, { transposeB: true });
    await device.read(c);
  };
  await some(100);
  assert.is(asked, 0);
  await some(500);
  assert.is(asked, 1);
  for (const t of [a, b, c]) t.dispose();
});

testNothingLeft([{ name: 'webgpu', device }], worst);
test.run();
