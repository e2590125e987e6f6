import { philox4x32 } from '../random.ts';

/** 53 random bits of two words as a number in (0, 1]. */
const unit = (high: number, low: number): number => ((high >>> 5) * 2 ** 26 + (low >>> 6) + 1) / 2 ** 53;

/**
 * Standard normal numbers by counter: Philox4x32-10 and the transform of Box and Muller (1958), two numbers a counter. Number i of a seed and a
 * stream does not depend on what else is drawn; engines agree on it up to the last bits of log and cos.
 *
 * @param seed 0 to 2^53 - 1. @param stream 0 to 2^32 - 1
 */
export function fillNormal(to: Float64Array, seed: number, stream = 0): void {
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32)] as const;
  for (let i = 0; i < to.length; i += 2) {
    const pair = i / 2;
    const [a, b, c, d] = philox4x32([pair >>> 0, Math.floor(pair / 2 ** 32), stream >>> 0, 1], key);
    const radius = Math.sqrt(-2 * Math.log(unit(a, b)));
    const angle = 2 * Math.PI * unit(c, d);
    to[i] = radius * Math.cos(angle);
    if (i + 1 < to.length) to[i + 1] = radius * Math.sin(angle);
  }
}
