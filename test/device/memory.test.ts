// device: wasm — is about memory of WebAssembly
/** The allocator of wasm memory and the scratch arena. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Arena, WasmMemory } from '../../src/device/wasm/memory.ts';
import { WasmDevice } from '../../src/device/wasm/wasm-device.ts';
import { code } from '../errors.ts';
import { noise } from './reference.ts';

const PAGE = 65536;

// ---- the allocator

function memory(pages = 1, firstFree = 1000, limit?: number): WasmMemory {
  return new WasmMemory(new WebAssembly.Memory({ initial: pages, maximum: 1000 }), firstFree, limit);
}

test('addresses are aligned to 64 bytes and lie behind what is taken', () => {
  const m = memory(1, 1001);
  for (const size of [1, 63, 64, 65, 1000, 0]) {
    const at = m.allocate(size);
    assert.is(at % 64, 0);
    assert.ok(at >= 1001);
  }
  assert.is(m.bytesInUse, 64 + 64 + 64 + 128 + 1024 + 64);
});

test('what is freed joins its neighbours, in every order, and is used again', () => {
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  for (const order of orders) {
    const m = memory(1, 0);
    const first = m.allocate(64);
    const three = [1000, 2000, 3000].map((size) => m.allocate(size));
    const last = m.allocate(64);
    for (const i of order) m.free(three[i]!);
    // only if all three are one range again does this fit where they were
    assert.is(m.allocate(1024 + 2048 + 3008), three[0], order.join(' '));
    assert.is(m.memory.buffer.byteLength, PAGE);
    m.free(three[0]!);
    m.free(last);
    m.free(first);
    assert.is(m.bytesInUse, 0);
    // and all is one range in the end
    assert.is(m.allocate(PAGE), 0);
    assert.is(m.memory.buffer.byteLength, PAGE);
  }
});

test('the first range that fits is taken', () => {
  const m = memory(1, 0);
  const [a, , c] = [m.allocate(512), m.allocate(64), m.allocate(128), m.allocate(64)];
  m.free(a!);
  m.free(c!);
  assert.is(m.allocate(128), a);
  assert.is(m.allocate(448), c! + 128 + 64); // 384 are left of the first, 128 of the second: the end
  assert.is(m.allocate(384), a! + 128);
  assert.is(m.allocate(100), c);
});

test('it grows by what is missing, and keeps what was written', () => {
  const m = memory(1, 0);
  const a = m.allocate(60000);
  m.u8.fill(7, a, a + 60000);
  const view = m.u8;
  const b = m.allocate(100000);
  assert.is(b, Math.ceil(60000 / 64) * 64, 'the rest of the first page is used');
  assert.is(m.memory.buffer.byteLength, Math.ceil((b + 100000) / PAGE) * PAGE);
  assert.is.not(m.u8, view, 'a detached view is not handed out');
  assert.ok(m.u8.subarray(a, a + 60000).every((x) => x === 7));
  m.u8[b + 99999] = 1;
  assert.is(m.peakBytes, m.bytesInUse);
  m.free(a);
  m.free(b);
  assert.ok(m.peakBytes >= 160000);
  // growing by nothing: all of it at once
  const all = m.memory.buffer.byteLength;
  assert.is(m.allocate(all), 0);
  assert.is(m.memory.buffer.byteLength, all);
});

test('at its limit it is out of memory, keeps count, and goes on', () => {
  const m = memory(1, 0, 3 * PAGE);
  const a = m.allocate(2 * PAGE);
  const before = m.bytesInUse;
  assert.throws(() => m.allocate(PAGE + 1), code('E_OUT_OF_MEMORY'));
  assert.is(m.bytesInUse, before);
  const b = m.allocate(PAGE);
  assert.throws(() => m.allocate(1), code('E_OUT_OF_MEMORY'));
  m.free(a);
  m.free(b);
  assert.is(m.allocate(3 * PAGE), 0);
  // the memory's own maximum, too
  const small = new WasmMemory(new WebAssembly.Memory({ initial: 1, maximum: 2 }), 0);
  assert.throws(() => small.allocate(3 * PAGE), code('E_OUT_OF_MEMORY'));
  assert.is(small.allocate(2 * PAGE), 0);
});

test('freeing what is not allocated is an error', () => {
  const m = memory();
  const at = m.allocate(10);
  m.free(at);
  assert.throws(() => m.free(at), /not allocated/);
  assert.throws(() => m.free(at + 64), /not allocated/);
});

test('3000 random steps: ranges never overlap, and in the end nothing is missing', () => {
  const m = memory(1, 100, 200 * PAGE);
  const next = noise(5);
  const live: { at: number; size: number; mark: number }[] = [];
  let bytes = 0;
  for (let step = 0; step < 3000; step++) {
    if (live.length > 0 && next() < (live.length > 60 ? 0.5 : -0.1)) {
      const [range] = live.splice(Math.floor(((next() + 1) / 2) * live.length), 1);
      const { at, size, mark } = range!;
      const content = m.u8.subarray(at, at + size);
      assert.ok(
        content.every((x) => x === mark),
        `step ${step}: overwritten`,
      );
      m.free(at);
      bytes -= Math.ceil(size / 64) * 64;
    } else {
      const size = 1 + Math.floor(((next() + 1) / 2) ** 3 * 40000);
      const at = m.allocate(size);
      const mark = step % 251;
      m.u8.fill(mark, at, at + size);
      live.push({ at, size, mark });
      bytes += Math.ceil(size / 64) * 64;
    }
    assert.is(m.bytesInUse, bytes);
  }
  assert.ok(live.length > 10);
  for (const { at } of live) m.free(at);
  assert.is(m.bytesInUse, 0);
  const all = m.memory.buffer.byteLength;
  assert.is(m.allocate(all - 128), 128);
  assert.is(m.memory.buffer.byteLength, all);
});

// ---- the arena

test('the arena goes back to a mark, and the same step takes the same place', () => {
  const m = memory(1, 0);
  const arena = new Arena(m);
  const start = arena.mark();
  const a = arena.allocate(100);
  const mark = arena.mark();
  const b = arena.allocate(1000);
  assert.is(b, a + 128);
  const c = arena.allocate(1);
  assert.is(c % 64, 0);
  arena.reset(mark);
  assert.is(arena.allocate(10), b);
  arena.reset(start);
  assert.is(arena.allocate(100), a);
  assert.is(arena.bytes, 1 << 20);
  assert.is(m.bytesInUse, 1 << 20);
});

test('an arena that overflowed becomes one chunk, after which a step takes no memory', () => {
  const m = memory(1, 0);
  const arena = new Arena(m);
  const start = arena.mark();
  const step = () => {
    const sizes = [700_000, 700_000, 3_000_000, 500_000, 64];
    const places = sizes.map((size) => arena.allocate(size));
    for (const [i, at] of places.entries()) m.u8.fill(i, at, at + sizes[i]!);
    for (const [i, at] of places.entries()) {
      assert.ok(
        m.u8.subarray(at, at + sizes[i]!).every((x) => x === i),
        'places of one step overlap',
      );
    }
    return places;
  };
  step();
  assert.ok(arena.bytes > 1 << 20);
  const { bytes } = arena;
  // a mark in the middle must not move anything
  const inner = arena.mark();
  arena.allocate(10);
  arena.reset(inner);
  assert.is(arena.bytes, bytes);
  arena.reset(start);
  assert.is(arena.bytes, bytes);
  assert.is(m.bytesInUse, bytes);
  const size = m.memory.buffer.byteLength;
  const first = step();
  for (let i = 0; i < 20; i++) {
    arena.reset(start);
    assert.equal(step(), first);
  }
  assert.is(arena.bytes, bytes);
  assert.is(m.memory.buffer.byteLength, size);
  // side by side: one chunk without gaps
  for (let i = 1; i < first.length; i++) assert.ok(first[i]! > first[i - 1]!);
  arena.release();
  assert.is(arena.bytes, 0);
  assert.is(m.bytesInUse, 0);
});

test('an arena grows where it stands, and leaves no gaps', () => {
  const m = memory(1, 0);
  const arena = new Arena(m);
  const sizes = [700_032, 600_000, 1_900_032, 64, 700_032, 640];
  const places = sizes.map((size) => arena.allocate(size));
  for (const [i, size] of sizes.slice(1).entries()) assert.is(places[i + 1]! - places[i]!, sizes[i]!, `${i} ${size}`);
  const sum = sizes.reduce((all, size) => all + size, 0);
  assert.ok(arena.bytes >= sum && arena.bytes < sum + (1 << 20), `${arena.bytes} ${sum}`);
  assert.is(m.peakBytes, arena.bytes);
  // what stands behind it stays, and scratch goes on elsewhere
  const wall = m.allocate(64);
  const behind = arena.allocate(2 << 20);
  assert.ok(behind > wall);
  arena.release();
  m.free(wall);
  assert.is(m.bytesInUse, 0);
});

test('what is allocated is made longer into free memory, into new memory, or not', () => {
  const m = memory(1, 0, 3 * 65536);
  const a = m.allocate(64);
  const b = m.allocate(64);
  const c = m.allocate(64);
  assert.not.ok(m.extend(a, 64), 'b stands behind it');
  m.free(b);
  assert.not.ok(m.extend(a, 128), 'c stands behind the gap');
  assert.ok(m.extend(a, 64));
  assert.is(m.allocate(64), c + 64);
  m.free(c + 64);
  assert.ok(m.extend(c, 65536));
  assert.is(m.memory.buffer.byteLength, 2 * 65536);
  assert.is(m.bytesInUse, 128 + 64 + 65536);
  assert.throws(() => m.extend(c, 2 * 65536), code('E_OUT_OF_MEMORY'));
  assert.is(m.bytesInUse, 128 + 64 + 65536);
  m.free(a);
  m.free(c);
  assert.is(m.allocate(2 * 65536), 0, 'all of it is one range again');
});

test('an arena that finds no room for one chunk goes on with several', () => {
  const m = memory(1, 0, 5 << 19);
  const arena = new Arena(m);
  const start = arena.mark();
  arena.allocate(1 << 20);
  const between = m.allocate(64);
  arena.allocate(1 << 20);
  arena.reset(start); // 2 MiB side by side are not to be had
  assert.is(arena.bytes, m.bytesInUse - 64);
  const places = [arena.allocate(1 << 20), arena.allocate(1 << 20)];
  assert.ok(Math.abs(places[0]! - places[1]!) >= 1 << 20);
  arena.release();
  m.free(between);
  assert.is(m.bytesInUse, 0);
});

test('scratch survives a growth of the memory', async () => {
  const device = await WasmDevice.create();
  const t = device.scratch('f32', [4]);
  device.write(t, Float32Array.of(1, 2, 3, 4));
  const large = device.tensor('f32', [10 << 20]);
  assert.equal([...(await device.read(t))], [1, 2, 3, 4]);
  large.dispose();
  device.close();
});

test.run();
