import type { Tensor } from '../device.ts';
import type { AdamArguments } from '../train-device.ts';
import { checkApart, checkFloats, checkPanels, elements, shapeError } from './tensor.ts';

export function checkSumSquares(x: Tensor, out: Tensor): void {
  checkFloats('sumSquares', x, out);
  if (elements(out.shape) !== 1) throw shapeError('sumSquares', `a sum into ${elements(out.shape)} elements`);
  checkApart('sumSquares', out, x);
}

export function checkAdamStep(args: AdamArguments): void {
  const { parameters, gradient, m, v, step } = args;
  checkFloats('adamStep', parameters, gradient, m, v);
  const n = elements(parameters.shape);
  for (const t of [gradient, m, v]) {
    if (elements(t.shape) !== n) throw shapeError('adamStep', `${elements(t.shape)} elements of ${n} parameters`);
  }
  if (!(Number.isSafeInteger(step) && step >= 1)) throw shapeError('adamStep', `step is ${step}`);
  for (const name of ['beta1', 'beta2'] as const) {
    const beta = args[name];
    if (!(beta >= 0 && beta < 1)) throw shapeError('adamStep', `${name} is ${beta}`);
  }
  for (const name of ['rate', 'epsilon', 'weightDecay', 'gradientScale'] as const) {
    if (!Number.isFinite(args[name])) throw shapeError('adamStep', `${name} is ${args[name]}`);
  }
  checkApart('adamStep', parameters, gradient, m, v);
  checkApart('adamStep', m, gradient, v);
  checkApart('adamStep', v, gradient);
}

export function checkPack(from: Tensor, to: Tensor): void {
  checkFloats('pack', from);
  checkPanels('pack', to, to.shape.length === 3 ? 3 : 2);
  if (to.type !== 'f32' && to.type !== 'bf16' && to.type !== 'f16') {
    throw shapeError('pack', `got a weight of ${to.type}, needs f32 or bf16 or f16`);
  }
  if (from.shape.length !== to.shape.length || from.shape.some((size, i) => size !== to.shape[i])) {
    throw shapeError('pack', `[${from.shape.join(', ')}] into [${to.shape.join(', ')}]`);
  }
  checkApart('pack', to, from);
}
