import type { AdamArguments } from '../train-device.ts';
import { elementwise, overElements } from './elementwise.ts';
import { variants } from './kernel.ts';
import type { GpuParts } from './tensor-store.ts';

/** Numbers as `assembly/optimiser.ts` has them, which are made in f64. */
const ADAM = variants('adamStep', (_, wide: boolean) => {
  return elementwise(wide, {
    buffers: [
      ['gradient', 'read'],
      ['theta', 'write'],
      ['m', 'write'],
      ['v', 'write'],
    ],
    numbers: [
      ...['scale: f32', 'beta1: f32', 'rest1: f32', 'beta2: f32', 'rest2: f32'],
      ...['unbias2: f32', 'epsilon: f32', 'rate: f32', 'decay: f32'],
    ],
    body: `let g = u.scale * gradient[u.gradientAt + i];
    let mean = fma(T(u.beta1), m[u.mAt + i], u.rest1 * g);
    let square = fma(T(u.beta2), v[u.vAt + i], u.rest2 * (g * g));
    let before = theta[u.thetaAt + i];
    let step = u.rate * mean / (sqrt(u.unbias2 * square) + u.epsilon);
    m[u.mAt + i] = mean;
    v[u.vAt + i] = square;
    theta[u.thetaAt + i] = before - fma(T(u.decay), before, step);`,
  });
});

export function adamStep(parts: GpuParts, args: AdamArguments): void {
  const { parameters, gradient, m, v, step, rate, beta1, beta2, epsilon, weightDecay, gradientScale } = args;
  const unbiased = rate / (1 - beta1 ** step);
  overElements(
    parts,
    ADAM,
    [gradient, parameters, m, v],
    [
      ...[gradientScale, beta1, 1 - beta1, beta2, 1 - beta2],
      ...[1 / (1 - beta2 ** step), epsilon, unbiased, rate * weightDecay],
    ],
  );
}
