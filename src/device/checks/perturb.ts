import type { PerturbArguments } from '../exact-device.ts';
import { checkApart, checkApartOrSame, checkFloats, checkRowMajor, elements, shapeError } from './tensor.ts';

export function checkPerturb(args: PerturbArguments): void {
  const { to, from, anchor = null, seed = 0, stream = [0, 0], first = 0 } = args;
  checkRowMajor('perturb', to, 'f32', 'f16', 'bf16');
  checkFloats('perturb', from, anchor);
  const n = elements(to.shape);
  for (const t of [from, anchor]) {
    if (t && elements(t.shape) !== n) throw shapeError('perturb', `${elements(t.shape)} elements to ${n}`);
  }
  for (const [name, x, most] of [
    ['seed', seed, Number.MAX_SAFE_INTEGER],
    ['first', first, Number.MAX_SAFE_INTEGER - n],
    ['stream', stream[0], 0xffffffff],
    ['stream', stream[1], 0xffffffff],
  ] as const) {
    if (!(Number.isSafeInteger(x) && x >= 0 && x <= most)) throw shapeError('perturb', `${name} is ${x}`);
  }
  checkApartOrSame('perturb', to, from);
  checkApart('perturb', to, anchor);
}
