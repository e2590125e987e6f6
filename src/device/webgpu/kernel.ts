/**
 * A kernel is a piece of WGSL with named buffers and numbers. Its frame is written here: bindings, the struct of numbers, and the head of
 * `main`. Of each buffer `x` the body reads `x[u.xAt + i]`: where the tensor begins in the buffer, counted in the buffer's elements.
 */

/** What a kernel may ask of the GPU that it is compiled for. */
export interface GpuTraits {
  readonly features: ReadonlySet<string>;
  /** Invocations of a workgroup, at most. */
  readonly invocations: number;
  /** Bytes of workgroup memory. */
  readonly workgroupBytes: number;
  /** Lanes of a subgroup where all subgroups have as many; else 0. */
  readonly subgroupSize: number;
}

/** `write` may be read, too. */
export type Access = 'read' | 'write';

export interface KernelText {
  /** In the order in which tensors are given: name, type of an element in WGSL, access. */
  readonly buffers: readonly (readonly [name: string, element: string, access: Access])[];
  /** `name: u32`, `name: i32` or `name: f32`. */
  readonly numbers: readonly string[];
  /** Rows of \`u.list\`, four u32 each, at most; those that there are are given behind the numbers. */
  readonly list?: number;
  /** Invocations of a workgroup, along x and y. */
  readonly workgroup: number | readonly [x: number, y: number];
  /** Extensions of WGSL. */
  readonly enable?: readonly string[];
  /** Functions and workgroup memory. */
  readonly declarations?: string;
  /**
   * What `main` does. It has `wid` (workgroup_id), `nw` (num_workgroups), `li` (local_invocation_index), `lid` (local_invocation_id), and `group`,
   * the workgroup's number where only x and y were spread.
   */
  readonly body: string;
  /** Further arguments of `main`, such as `@builtin(subgroup_id) sg: u32`. */
  readonly builtins?: string;
}

export interface Kernel {
  /** Tells it from all others, its variant included. */
  readonly name: string;
  readonly text: (traits: GpuTraits) => KernelText;
}

/** Each name once: whoever makes variants of one text puts what tells them apart into the name. */
export function kernel(name: string, text: Kernel['text']): Kernel {
  return { name, text };
}

/** Variants made on demand, kept by their name. */
export function variants<A extends readonly (string | number | boolean)[]>(
  name: string,
  text: (traits: GpuTraits, ...variant: A) => KernelText,
): (...variant: A) => Kernel {
  // a level for each argument: this is asked for each dispatch, and a joined name would be made each time
  const made = new Map<string | number | boolean, unknown>();
  return (...variant) => {
    let level = made;
    for (let i = 0; i < variant.length - 1; i++) {
      let next = level.get(variant[i]!) as typeof made | undefined;
      if (!next) {
        next = new Map();
        level.set(variant[i]!, next);
      }
      level = next;
    }
    const last = variant[variant.length - 1]!;
    let one = level.get(last) as Kernel | undefined;
    if (!one) {
      one = { name: `${name} ${variant.join(' ')}`, text: (traits) => text(traits, ...variant) };
      level.set(last, one);
    }
    return one;
  };
}

/** What is written as WGSL, and how its numbers are given. */
export interface Framed {
  readonly code: string;
  readonly access: readonly Access[];
  /** Bytes of an element of each buffer. */
  readonly elementBytes: readonly number[];
  /** Whether each number, those of the buffers' beginnings not counted, is an f32. */
  readonly floats: readonly boolean[];
  /** Where the list begins among the numbers, in words, and the bytes of all of them, at most. */
  readonly listAt: number;
  readonly numberBytes: number;
}

/** Bytes of the numbers of a kernel without a list, at most. */
const NUMBER_BYTES = 256;

export function framed({
  buffers,
  numbers,
  list,
  workgroup,
  enable,
  declarations,
  body,
  builtins,
}: KernelText): Framed {
  const fields = [...buffers.map(([name]) => `${name}At: u32`), ...numbers];
  const listAt = Math.ceil(fields.length / 4) * 4;
  if (list) fields.push(`list: array<vec4u, ${list}>`);
  const size = typeof workgroup === 'number' ? `${workgroup}` : workgroup.join(', ');
  const code = `${(enable ?? []).map((name) => `enable ${name};\n`).join('')}
struct Numbers { ${fields.join(', ')} }
${buffers
  .map(([name, element, access], i) => {
    const mode = access === 'read' ? 'read' : 'read_write';
    return `@group(0) @binding(${i}) var<storage, ${mode}> ${name}: array<${element}>;`;
  })
  .join('\n')}
@group(0) @binding(${buffers.length}) var<uniform> u: Numbers;
${declarations ?? ''}
@compute @workgroup_size(${size}) fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_index) li: u32, @builtin(local_invocation_id) lid: vec3u${builtins ? `, ${builtins}` : ''}) {
  let group = wid.y * nw.x + wid.x;
  ${body}
}
`;
  return {
    code,
    access: buffers.map(([, , access]) => access),
    elementBytes: buffers.map(([, element]) => bytesOf(element)),
    floats: numbers.map((field) => field.endsWith('f32')),
    listAt,
    numberBytes: list ? 4 * listAt + 16 * list : NUMBER_BYTES,
  };
}

function bytesOf(element: string): number {
  const vector = /^vec([24])(?:<(\w+)>|([fuih]))$/.exec(element);
  const scalar = vector ? (vector[2] ?? vector[3]!) : element;
  const bytes = scalar === 'f16' || scalar === 'h' ? 2 : 4;
  return bytes * (vector ? Number(vector[1]) : 1);
}

/** Workgroups of a kernel that counts them in one row: a dimension holds 65,535. */
export function spread(groups: number): readonly [x: number, y: number] {
  const most = 65_535;
  if (groups <= most) return [groups, 1];
  const y = Math.ceil(groups / most);
  return [Math.ceil(groups / y), y];
}

/**
 * Sum or maximum over a workgroup of `size` invocations, a power of two: \`NAME(value, li)\`, for all of them together. The order of the sum depends
 * on nothing but the size.
 */
export function reduction(name: string, size: number, how: 'sum' | 'max'): string {
  const join = (a: string, b: string) => (how === 'sum' ? `${a} + ${b}` : `max(${a}, ${b})`);
  return `var<workgroup> ${name}_part: array<f32, ${size}>;
fn ${name}(value: f32, li: u32) -> f32 {
  ${name}_part[li] = value;
  workgroupBarrier();
  for (var width = ${size / 2}u; width > 0u; width >>= 1u) {
    if (li < width) { ${name}_part[li] = ${join(`${name}_part[li]`, `${name}_part[li + width]`)}; }
    workgroupBarrier();
  }
  let all = ${name}_part[0];
  workgroupBarrier();
  return all;
}`;
}
