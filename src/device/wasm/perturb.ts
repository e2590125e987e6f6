import { byteLengthOf } from '../../element-types.ts';
import { elements } from '../checks/tensor.ts';
import type { PerturbArguments } from '../exact-device.ts';
import { type Kernels, PANEL_TYPE } from './kernels.ts';
import { evenly, type Lanes } from './lanes.ts';
import type { Arena } from './memory.ts';
import { addressOf } from './tensor.ts';

/** Numbers below which the work is not worth a command to the lanes. */
const FEW = 1 << 13;
/** Numbers of a range, in whole cache lines of every type. */
const LINE = 32;

/** As Device.perturb. */
export function perturb(kernels: Kernels, arena: Arena, lanes: Lanes, args: PerturbArguments): void {
  const { to, from, anchor = null, scale = 1, std = 0, seed = 0, stream = [0, 0], first = 0 } = args;
  const n = elements(to.shape);
  const type = to.type as 'f32' | 'f16' | 'bf16';
  const [at, base, x] = [addressOf(to), addressOf(anchor), addressOf(from)];
  const mark = arena.mark();
  const parts = lanes.parts(n, FEW, 2);
  const scratch = Array.from({ length: parts }, () => arena.allocate(kernels.perturbScratch()));
  // 0 stays 0: there is none
  const part = (address: number, i: number): number => (address === 0 ? 0 : address + 4 * i);
  lanes.run('perturb', evenly(n, parts, LINE), (i, end, p) => [
    end - i,
    at + byteLengthOf(type, i),
    PANEL_TYPE[type],
    part(base, i),
    part(x, i),
    scale,
    std,
    seed,
    stream[0],
    stream[1],
    first + i,
    scratch[p]!,
  ]);
  arena.reset(mark);
}
