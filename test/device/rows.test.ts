/** Rows of every type at every offset: written, copied and cast, and what stands beside them stays. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { floatToHalf } from '../../src/checkpoint/quantised/half.ts';
import type { Device, ElementType, Tensor } from '../../src/device/device.ts';
import { byteLengthOf } from '../../src/element-types.ts';
import { devices, put, testNothingLeft, testsOn } from './devices.ts';
import { noise, randomF32 } from './reference.ts';

const all = await devices();
const TYPES = ['f32', 'i32', 'u32', 'f16', 'bf16', 'i8'] as const;

function bytesOf(n: number, seed: number): Uint8Array<ArrayBuffer> {
  const next = noise(seed);
  return Uint8Array.from({ length: n }, () => (next() + 1) * 128);
}

/** Random bytes on a device, and the same here. */
function random(device: Device, type: ElementType, shape: readonly number[], seed: number): [Tensor, Uint8Array] {
  const t = device.tensor(type, shape);
  const bytes = bytesOf(t.byteLength, seed);
  device.writeBytes(t, bytes);
  return [t, bytes];
}

/** Bits of the bf16 nearest to bits of f32, ties to even. */
function bfloat(bits: number): number {
  const low = bits & 0xffff;
  const high = bits >>> 16;
  return (high + (low > 0x8000 || (low === 0x8000 && high & 1) ? 1 : 0)) & 0xffff;
}

const isNaN16 = (bits: number, type: 'f16' | 'bf16') =>
  type === 'f16' ? (bits & 0x7fff) > 0x7c00 : (bits & 0x7fff) > 0x7f80;

for (const { name, device } of all) {
  const on = testsOn(name, device);

  on('numbers of 16 bits are written from any element on', async () => {
    for (const type of ['f16', 'bf16'] as const) {
      const [t, here] = random(device, type, [5, 3], 1);
      const halves = new Uint16Array(here.buffer);
      const write = (to: Tensor, first: number, offset: number, count: number) => {
        const data = Uint16Array.from({ length: count }, (_, i) => 0x3c00 + 97 * first + 31 * offset + i);
        device.write(to, data, offset);
        halves.set(data, first + offset);
      };
      for (let offset = 0; offset <= 15; offset++)
        for (const n of [1, 2, 3, 7]) if (offset + n <= 15) write(t, 0, offset, n);
      assert.equal(await device.readBytes(t), here, type);
      // rows of three begin within a word, and end in one
      for (const [first, count] of [
        [0, 1],
        [1, 1],
        [1, 2],
        [2, 3],
        [4, 1],
      ] as const) {
        const view = device.rows(t, first, count);
        for (let offset = 0; offset < 3 * count; offset++) write(view, 3 * first, offset, 3 * count - offset);
        assert.equal(await device.readBytes(view), here.slice(6 * first, 6 * (first + count)));
        assert.equal(await device.readBytes(t), here, `${type}, rows ${first} + ${count}`);
      }
      t.dispose();
    }
  });

  on('bytes are written to any rows, also from memory that does not begin at a word', async () => {
    for (const type of TYPES) {
      for (const width of [1, 3, 5]) {
        const [t, here] = random(device, type, [7, width], width);
        const row = byteLengthOf(type, width);
        for (const [first, count] of [
          [0, 1],
          [1, 1],
          [2, 3],
          [6, 1],
          [0, 7],
          [3, 0],
        ] as const) {
          const data = bytesOf(count * row + 1, 10 + first + count).subarray(1);
          device.writeBytes(device.rows(t, first, count), data);
          here.set(data, first * row);
          assert.equal(await device.readBytes(t), here, `${type} [7, ${width}], rows ${first} + ${count}`);
        }
        t.dispose();
      }
    }
  });

  on('copyRows: rows of every type and width to any other, within a tensor too', async () => {
    for (const type of TYPES) {
      for (const width of [1, 2, 3, 4, 7, 64, 1001]) {
        const row = byteLengthOf(type, width);
        const [a, mine] = random(device, type, [9, width], 1);
        const [b, yours] = random(device, type, [9, width], 2);
        for (const [first, count, toRow] of [
          [0, 9, 0],
          [0, 1, 1],
          [1, 2, 3],
          [3, 3, 0],
          [2, 5, 4],
          [8, 1, 8],
          [4, 0, 2],
        ] as const) {
          device.copyRows(device.rows(a, first, count), b, toRow);
          yours.set(mine.subarray(first * row, (first + count) * row), toRow * row);
          assert.equal(await device.readBytes(b), yours, `${type} ${width}: ${count} from ${first} to ${toRow}`);
        }
        for (const [first, count, toRow] of [
          [0, 2, 3],
          [5, 3, 1],
          [7, 1, 6],
          [0, 4, 5],
        ] as const) {
          device.copyRows(device.rows(a, first, count), device.rows(a, toRow, count), 0);
          mine.copyWithin(toRow * row, first * row, (first + count) * row);
          assert.equal(await device.readBytes(a), mine, `${type} ${width}: within, ${count} from ${first} to ${toRow}`);
        }
        for (const t of [a, b]) t.dispose();
      }
    }
  });

  on('casts from every 16-bit number and of every kind of f32, to the bit; NaN stays one', async () => {
    const every = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const exponents = 256;
    // each exponent with fractions at, below and above the middle of two halves, and random ones
    const bits = new Uint32Array(exponents * 2 * 32);
    const next = noise(5);
    for (let i = 0; i < bits.length; i++) {
      const low =
        i % 32 < 24
          ? [0, 1, 0x0fff, 0x1000, 0x1001, 0x3000, 0x7fff, 0x8000, 0x8001, 0x18000, 0x7fffff, 0x400000][i % 12]!
          : (next() + 1) * 2 ** 22;
      bits[i] = (((i >> 5) << 23) | low) >>> 0;
    }
    const values = new Float32Array(bits.buffer);
    const [wide, some] = [device.tensor('f32', [65536]), device.tensor('f32', [bits.length])];
    device.writeBytes(some, new Uint8Array(bits.buffer));
    for (const type of ['f16', 'bf16'] as const) {
      const half = device.tensor(type, [65536]);
      device.write(half, every);
      device.cast(half, wide);
      device.cast(wide, half);
      const back = (await device.read(half)) as Uint16Array;
      for (const h of every) assert.ok(back[h] === h || (isNaN16(h, type) && isNaN16(back[h]!, type)), `${type} ${h}`);
      const exact = (await device.read(wide)) as Float32Array;
      for (const h of every) assert.is(Number.isNaN(exact[h]), isNaN16(h, type), `${type} ${h}`);
      const narrow = device.tensor(type, [bits.length]);
      device.cast(some, narrow);
      const got = (await device.read(narrow)) as Uint16Array;
      for (let i = 0; i < bits.length; i++) {
        const nan = Number.isNaN(values[i]);
        if (nan) assert.ok(isNaN16(got[i]!, type), `${type} of ${bits[i]!.toString(16)}`);
        else
          assert.is(
            got[i],
            type === 'f16' ? floatToHalf(values[i]!) : bfloat(bits[i]!),
            `${type} of ${bits[i]!.toString(16)}`,
          );
      }
      for (const t of [half, narrow]) t.dispose();
    }
    for (const t of [wide, some]) t.dispose();
  });

  on('casts of rows that begin within a word leave what stands beside them', async () => {
    const values = randomF32(15, 3);
    for (const type of ['f16', 'bf16'] as const) {
      const [narrow, wide] = [device.tensor(type, [5, 3]), put(device, [5, 3], values)];
      device.cast(wide, narrow);
      const whole = (await device.read(narrow)) as Uint16Array;
      for (const [first, count] of [
        [0, 1],
        [1, 1],
        [1, 2],
        [3, 2],
        [2, 0],
      ] as const) {
        const marked = new Uint16Array(15).fill(0x1234);
        device.write(narrow, marked);
        device.cast(device.rows(wide, first, count), device.rows(narrow, first, count));
        marked.set(whole.subarray(3 * first, 3 * (first + count)), 3 * first);
        assert.equal(await device.read(narrow), marked, `${type}, ${count} from ${first}`);
        device.write(narrow, whole);
        const out = put(
          device,
          [5, 3],
          values.map(() => 9),
        );
        device.cast(device.rows(narrow, first, count), device.rows(out, 4 - first - Math.max(0, count - 1), count));
        const got = (await device.read(out)) as Float32Array;
        assert.is(got.filter((v) => v === 9).length, 15 - 3 * count, `${type}, ${count} from ${first}`);
        // what came out is what goes in again
        const again = device.tensor(type, [5, 3]);
        device.cast(out, again);
        const at = 3 * (4 - first - Math.max(0, count - 1));
        const bits = (await device.read(again)) as Uint16Array;
        assert.equal(bits.slice(at, at + 3 * count), whole.slice(3 * first, 3 * (first + count)));
        // to its own type it is a copy
        device.cast(device.rows(narrow, first, count), device.rows(again, first, count));
        assert.equal(
          ((await device.read(again)) as Uint16Array).slice(3 * first, 3 * (first + count)),
          whole.slice(3 * first, 3 * (first + count)),
        );
        for (const t of [out, again]) t.dispose();
      }
      for (const t of [narrow, wide]) t.dispose();
    }
  });
}

testNothingLeft(all);

test.run();
