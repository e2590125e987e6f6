/**
 * Reading matrices in WGSL, four numbers of a row at a time, whatever they are stored as: quantised ones become f32 exactly as
 * src/checkpoint/quantised has it. Tiles read quads; kernels of few rows read pairs of quads, which are one load each.
 */
import type { Operand, Reading } from './operand.ts';

export interface Source {
  readonly buffers: readonly (readonly [name: string, element: string, access: 'read'])[];
  readonly numbers: readonly string[];
  /** A function: see `quadsOf` and `pairsOf`. */
  readonly text: string;
}

type Quantised = 'q8_0' | 'q8_1' | 'q4_0' | 'q4_1';

function isQuantised(reading: Reading): reading is Quantised {
  return reading.startsWith('q');
}

function source(x: string, reading: Reading, element: string, text: string): Source {
  const quantised = isQuantised(reading);
  return {
    buffers: [[x, element, 'read'], ...(quantised ? [[`${x}Scales`, 'u32', 'read'] as const] : [])],
    numbers: [`${x}Stride: u32`, quantised ? `${x}ScaleStride: u32` : `${x}Columns: u32`],
    text: quantised ? `${scaleText(x, reading)}\n${text}` : text,
  };
}

/** `X_quad(row, quad)`: numbers 4 · quad .. of a row; of `f32 by one` zeros behind the row's end, of others what stands there. */
export function quadsOf(x: string, reading: Reading): Source {
  const head = `fn ${x}_quad(row: u32, quad: u32) -> vec4f`;
  const at = `${x}[u.${x}At + row * u.${x}Stride + quad]`;
  switch (reading) {
    case 'f32':
      return source(x, reading, 'vec4f', `${head} { return ${at}; }`);
    case 'f32 by one':
      return source(x, reading, 'f32', `${head} {\n${byOne(x, 'quad')}\n}`);
    case 'f16':
      return source(x, reading, 'vec2u', `${head} { return ${halves(at)}; }`);
    case 'bf16':
      return source(x, reading, 'vec2u', `${head} { return ${bfloats(at)}; }`);
    case 'q8_0':
    case 'q8_1':
      return source(x, reading, 'u32', `${head} { return ${scaled(x, reading, bytes(at), 'quad / 8u')}; }`);
    case 'q4_0':
    case 'q4_1': {
      // low halves of a block's 16 bytes are its numbers 0 .. 15, high ones 16 .. 31
      const word = `${x}[u.${x}At + row * u.${x}Stride + 4u * (quad / 8u) + quad % 4u]`;
      const codes = nibbles(`(${word} >> (quad & 4u))`);
      return source(x, reading, 'u32', `${head} { return ${scaled(x, reading, codes, 'quad / 8u')}; }`);
    }
    default:
      return reading satisfies never;
  }
}

/**
 * `X_pair(row, pair)`: two quads of a row, which `X_first(pair)` and `X_second(pair)` tell; zeros behind the row's end. Needs `PAIR` declared.
 */
export function pairsOf(x: string, reading: Reading): Source {
  const head = `fn ${x}_pair(row: u32, pair: u32) -> Pair`;
  const at = `${x}[u.${x}At + row * u.${x}Stride + pair]`;
  const neighbours = `fn ${x}_first(pair: u32) -> u32 { return 2u * pair; }
fn ${x}_second(pair: u32) -> u32 { return 2u * pair + 1u; }`;
  switch (reading) {
    case 'f32': {
      const quad = `${x}[u.${x}At + row * u.${x}Stride + 2u * pair`;
      const second = `select(vec4f(), ${quad} + 1u], 8u * pair + 4u < u.${x}Columns)`;
      return source(x, reading, 'vec4f', `${neighbours}\n${head} { return Pair(${quad}], ${second}); }`);
    }
    case 'f32 by one':
      return source(
        x,
        reading,
        'f32',
        `${neighbours}
fn ${x}_quad(row: u32, quad: u32) -> vec4f {\n${byOne(x, 'quad')}\n}
${head} { return Pair(${x}_quad(row, 2u * pair), ${x}_quad(row, 2u * pair + 1u)); }`,
      );
    case 'f16':
    case 'bf16': {
      const text = reading === 'f16' ? halves : bfloats;
      const body = `let w = ${at}; return Pair(${text('w.xy')}, ${text('w.zw')});`;
      return source(x, reading, 'vec4u', `${neighbours}\n${head} { ${body} }`);
    }
    case 'q8_0':
    case 'q8_1': {
      const [first, second] = [bytes('w.x'), bytes('w.y')].map((codes) => scaled(x, reading, codes, 'pair / 4u'));
      return source(x, reading, 'vec2u', `${neighbours}\n${head} { let w = ${at}; return Pair(${first}, ${second}); }`);
    }
    case 'q4_0':
    case 'q4_1': {
      const [first, second] = ['w', '(w >> 4u)'].map((w) => scaled(x, reading, nibbles(w), 'pair / 4u'));
      return source(
        x,
        reading,
        'u32',
        `fn ${x}_first(pair: u32) -> u32 { return 8u * (pair / 4u) + pair % 4u; }
fn ${x}_second(pair: u32) -> u32 { return 8u * (pair / 4u) + pair % 4u + 4u; }
${head} { let w = ${at}; return Pair(${first}, ${second}); }`,
      );
    }
    default:
      return reading satisfies never;
  }
}

export const PAIR = 'struct Pair { a: vec4f, b: vec4f }';

/** The numbers that `source` asks for, of an operand that is read so. @param perLoad quads of a load: 1 or 2 */
export function sourceNumbers(of: Operand, perLoad: 1 | 2): [stride: number, columnsOrScaleStride: number] {
  const { reading, rowBytes, scaleBytes, columns } = of;
  return [rowBytes / loadBytes(reading, perLoad), isQuantised(reading) ? scaleBytes / 4 : columns];
}

function loadBytes(reading: Reading, perLoad: 1 | 2): number {
  switch (reading) {
    case 'f32':
      return 16;
    case 'f32 by one':
      return 4;
    case 'f16':
    case 'bf16':
      return 8 * perLoad;
    case 'q8_0':
    case 'q8_1':
      return 4 * perLoad;
    case 'q4_0':
    case 'q4_1':
      return 4;
    default:
      return reading satisfies never;
  }
}

function byOne(x: string, quad: string): string {
  return `  let columns = 4u * ${quad} + vec4u(0u, 1u, 2u, 3u);
  let at = u.${x}At + row * u.${x}Stride + columns;
  return select(vec4f(), vec4f(${x}[at.x], ${x}[at.y], ${x}[at.z], ${x}[at.w]), columns < vec4u(u.${x}Columns));`;
}

const halves = (w: string): string => `vec4f(unpack2x16float(${w}.x), unpack2x16float(${w}.y))`;

const bfloats = (w: string): string => `bitcast<vec4f>((${w}.xxyy << vec4u(16u, 0u, 16u, 0u)) & vec4u(0xffff0000u))`;

/** Four signed bytes of a word. */
const bytes = (w: string): string => `vec4f((vec4i(bitcast<i32>(${w})) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u))`;

/** The low half of each byte of a word. */
const nibbles = (w: string): string => `vec4f((vec4u(${w}) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(15u))`;

/** Codes are integers of at most 8 bits and scales have 11: products are exact, and `fma` rounds as an addition does. */
function scaled(x: string, reading: Quantised, codes: string, block: string): string {
  const scale = `${x}_scale(row, ${block})`;
  if (reading === 'q8_0') return `${scale} * ${codes}`;
  if (reading === 'q4_0') return `${scale} * (${codes} - 8.0)`;
  return `${x}_apply(${codes}, ${scale})`;
}

function scaleText(x: string, reading: Quantised): string {
  const row = `u.${x}ScalesAt + row * u.${x}ScaleStride`;
  if (reading === 'q8_0' || reading === 'q4_0') {
    return `fn ${x}_scale(row: u32, block: u32) -> f32 {
  return unpack2x16float(${x}Scales[${row} + block / 2u] >> (16u * (block & 1u))).x;
}`;
  }
  return `fn ${x}_scale(row: u32, block: u32) -> vec2f { return unpack2x16float(${x}Scales[${row} + block]); }
fn ${x}_apply(codes: vec4f, scale: vec2f) -> vec4f { return fma(codes, vec4f(scale.x), vec4f(scale.y)); }`;
}
