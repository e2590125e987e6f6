/** What kernels over rows of logits share: four numbers of a row at a time, read at once where memory is aligned so, else one by one. */
import type { Bound } from './commands.ts';
import type { Access } from './kernel.ts';

/** Below every logit that is finite, and what stands for -∞ where it is computed with: WGSL has no infinities. */
export const LEAST = '-3.40282346e38';

/** Whether rows of this width in these places can be bound as vec4f. The same for all rows of a tensor, and so are the bits. */
export function isWide(width: number, ...bound: readonly Bound[]): boolean {
  return width % 4 === 0 && bound.every(({ offset }) => offset % 16 === 0);
}

export function fourBuffer(name: string, wide: boolean, access: Access): readonly [string, string, Access] {
  return [name, wide ? 'vec4f' : 'f32', access];
}

/** `NAMEGet(row, i)`: columns i .. i + 3 of a row of `u.width` of a buffer, i < width a multiple of 4; beyond the width `beside`. */
export function fourGet(name: string, wide: boolean, beside: string): string {
  const at = `u.${name}At + `;
  const one = (j: number) =>
    `select(${beside}, ${name}[${at}start + min(i + ${j}u, u.width - 1u)], i + ${j}u < u.width)`;
  const body = wide
    ? `return ${name}[${at}(row * u.width + i) / 4u];`
    : `let start = row * u.width;
  return vec4f(${[0, 1, 2, 3].map(one).join(', ')});`;
  return `fn ${name}Get(row: u32, i: u32) -> vec4f {
  ${body}
}`;
}

/** `NAMESet(row, i, value)`. */
export function fourSet(name: string, wide: boolean): string {
  const at = `u.${name}At + `;
  const one = (part: string, j: number) =>
    `if (i + ${j}u < u.width) { ${name}[${at}start + i + ${j}u] = value.${part}; }`;
  const body = wide
    ? `${name}[${at}(row * u.width + i) / 4u] = value;`
    : `let start = row * u.width;
  ${[...'xyzw'].map(one).join('\n  ')}`;
  return `fn ${name}Set(row: u32, i: u32, value: vec4f) {
  ${body}
}`;
}
