import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { philox4x32, uniform } from '../../src/random.ts';

test('Philox4x32-10 gives the known answers of its authors', () => {
  const known: [number[], number[], number[]][] = [
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ];
  for (const [counter, key, expected] of known) {
    assert.equal(philox4x32(counter as [number, number, number, number], key as [number, number]), expected);
  }
});

test('uniform numbers lie in [0, 1), fill it evenly, and depend on seed, step and stream', () => {
  const bins = new Array(16).fill(0);
  const n = 16000;
  for (let step = 0; step < n; step++) {
    const x = uniform(7, step);
    assert.ok(x >= 0 && x < 1);
    bins[Math.floor(x * 16)]++;
  }
  const chi = bins.reduce((sum, count) => sum + (count - n / 16) ** 2 / (n / 16), 0);
  assert.ok(chi < 37.7, `chi-square ${chi} over 15 degrees of freedom`); // p = 0.001
  const drawn = [
    uniform(0, 0),
    uniform(1, 0),
    uniform(2 ** 32, 0),
    uniform(0, 1),
    uniform(0, 2 ** 32),
    uniform(0, 0, 1),
  ];
  assert.is(new Set(drawn).size, drawn.length);
  assert.is(uniform(2 ** 53 - 1, 2 ** 53 - 1), uniform(2 ** 53 - 1, 2 ** 53 - 1));
});

test.run();
