import { elements } from '../checks/tensor.ts';
import type { Tensor } from '../device.ts';
import type { AdamArguments } from '../train-device.ts';
import { PANEL_TYPE } from './kernels.ts';
import { overElements, overRows } from './over-rows.ts';
import type { Parts } from './parts.ts';
import { addressOf } from './tensor.ts';

/** As TrainDevice.adamStep. Corrections of the bias are made in f64 and rounded once. */
export function adamStep({ lanes }: Parts, args: AdamArguments): void {
  const { step, rate, beta1, beta2, epsilon, weightDecay, gradientScale } = args;
  const n = elements(args.parameters.shape);
  const [theta, gradient, m, v] = [args.parameters, args.gradient, args.m, args.v].map(addressOf) as Four;
  const unbias2 = 1 / (1 - beta2 ** step);
  const unbiased = rate / (1 - beta1 ** step);
  const rates = [beta1, 1 - beta1, beta2, 1 - beta2, unbias2, epsilon, unbiased, rate * weightDecay] as const;
  overElements(lanes, 'adamStep', n, (count, at) => {
    return [count, theta + at, gradient + at, m + at, v + at, gradientScale, ...rates];
  });
}
type Four = [number, number, number, number];

/** As TrainDevice.pack. */
export function pack({ lanes }: Parts, from: Tensor, to: Tensor): void {
  const [n, k] = to.shape.slice(-2) as [number, number];
  const matrices = to.shape.length === 3 ? to.shape[0]! : 1;
  const type = PANEL_TYPE[to.type as 'f32'];
  for (let i = 0; i < matrices; i++) {
    const [rows, panels] = [addressOf(from) + 4 * i * n * k, addressOf(to) + (i * to.byteLength) / matrices];
    overRows(lanes, 'packFloats', Math.ceil(n / 8), 8 * k, [type, 0, 0, n, k, rows, panels], { range: 1 });
  }
}
