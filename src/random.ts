/**
 * Random numbers by counter: Philox4x32-10 (Salmon et al. 2011). The number for a seed and a counter is a pure function of
 * the two, in integer arithmetic, so every runtime draws the same ones, in any order and without state to save.
 */

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;

/** Upper 32 bits of the 64-bit product of two unsigned 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16); // < 2^32, exact
  const carry = aLow * bHigh + (middle & 0xffff); // < 2^32, exact
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}

/** Ten rounds of Philox4x32: four random words for a counter of four words and a key of two. */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0 >>> 0);
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0;
    const high1 = multiplyHigh(MULTIPLIER_1, c2 >>> 0);
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/**
 * The uniform number in [0, 1), with 53 random bits, of a seed, a stream and a step.
 *
 * @param seed an integer from 0 to 2^53 - 1
 * @param step an integer from 0 to 2^53 - 1: the how-manyth draw
 * @param stream tells apart uses that share a seed (0 to 2^32 - 1)
 */
export function uniform(seed: number, step: number, stream = 0): number {
  const [a, b] = philox4x32(
    [step >>> 0, Math.floor(step / 2 ** 32), stream >>> 0, 0],
    [seed >>> 0, Math.floor(seed / 2 ** 32)],
  );
  return ((a >>> 5) * 2 ** 26 + (b >>> 6)) / 2 ** 53;
}
