// device: wasm — reads kernels of the CPU
/** The compiled text of the hot kernels: a lost fused instruction, or values that no longer fit the registers, fails here. */
import { instantiate } from '@assemblyscript/loader';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DOT, GROUP, MICRO, PANEL_TYPE } from '../../src/device/wasm/kernels.ts';
import { readBytes, readText } from '../files.ts';

const text = await readText('build/kernels.plain.relaxed.wat');

/** The text of one function. */
function body(name: string): string {
  const start = text.indexOf(` (func $assembly/${name} (`);
  assert.ok(start >= 0, `${name} is a function of its own`);
  return text.slice(start, text.indexOf('\n )\n', start));
}

/** How often an instruction stands in the text. */
function count(code: string, instruction: string): number {
  return code.split('\n').filter((line) => line.trim().split(' ')[0] === instruction).length;
}

/** Instructions of the innermost loop, and how many vectors the function keeps: V8 has 15 registers for them on x86. */
const KERNELS = [
  {
    name: 'gemm/micro6x8Fused',
    loop: { 'f32x4.relaxed_madd': 12, 'v128.load32_splat': 6, 'v128.load': 2 },
    vectors: 15,
  },
  {
    name: 'gemm/micro5x8Fused',
    loop: { 'f32x4.relaxed_madd': 10, 'v128.load32_splat': 5, 'v128.load': 2 },
    vectors: 15,
  },
  { name: 'gemm/micro4x8Fused', loop: { 'f32x4.relaxed_madd': 8, 'v128.load': 3 }, vectors: 15 },
  { name: 'gemm/micro5x8Unfused', loop: { 'f32x4.mul': 10, 'f32x4.add': 10, 'v128.load32_splat': 5 }, vectors: 15 },
  { name: 'gemm/micro4x8Unfused', loop: { 'f32x4.mul': 8, 'f32x4.add': 8, 'v128.load': 3 }, vectors: 15 },
  {
    name: 'int8/tileRelaxed16',
    loop: { 'i16x8.relaxed_dot_i8x16_i7x16_s': 10, 'i16x8.add': 10, 'v128.load32_splat': 5, 'v128.load': 2 },
    vectors: 15,
  },
  {
    name: 'int8/tileRelaxed32',
    loop: { 'i32x4.relaxed_dot_i8x16_i7x16_add_s': 8, 'v128.load32_splat': 4 },
    vectors: 15,
  },
  { name: 'gemv-four/chainBF16', loop: { 'f32x4.relaxed_madd': 8, 'v128.load32_splat': 4 }, vectors: 15 },
  {
    // what ends a block is no part of the loop, and may leave the registers
    name: 'gemv-four/fourQ41By16',
    loop: { 'i16x8.relaxed_dot_i8x16_i7x16_s': 8, 'i16x8.add': 8, 'v128.load32_splat': 4, 'v128.load': 1 },
    vectors: 20,
  },
  { name: 'int8/tileWide', loop: { 'i32x4.dot_i16x8_s': 8, 'i32x4.add': 8, 'v128.load32_splat': 4 }, vectors: 15 },
];

for (const { name, loop, vectors } of KERNELS) {
  test(`${name} keeps its instructions and fits the registers`, () => {
    const code = body(name);
    const at = code.lastIndexOf('loop ');
    assert.ok(at > 0, 'it has a loop');
    // the innermost loop begins last and ends at an `end` of its own indentation
    const indent = /\n( *)$/.exec(code.slice(0, at))![1]!;
    const inner = code.slice(at, code.indexOf(`\n${indent}end`, at));
    for (const [instruction, want] of Object.entries(loop)) {
      assert.is(count(inner, instruction), want, `${instruction} in the loop of ${name}`);
    }
    const locals = code.split(/\(local \$\S+ v128\)/).length - 1;
    assert.ok(locals > 0 && locals <= vectors, `${locals} vectors are kept`);
    assert.is(count(code, 'call'), 0, 'nothing is called');
  });
}

test('numbers that JavaScript mirrors are those of the kernels', async () => {
  // the loader turns the exported globals "Micro.Splat6" and so on into objects
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 65536 });
  const { exports } = await instantiate(await readBytes('build/kernels.plain.simd.wasm'), {
    env: { memory },
  });
  const { Micro, Dot, Type, GROUP: group } = exports as unknown as Record<string, Record<string, number>>;
  assert.equal(
    [Micro!['Splat6Fused'], Micro!['Lane4Fused'], Micro!['Splat6'], Micro!['Lane4'], Micro!['Splat5']].map(Number),
    [MICRO.splat6Fused, MICRO.lane4Fused, MICRO.splat6, MICRO.lane4, MICRO.splat5],
  );
  assert.equal([Dot!['Wide'], Dot!['Relaxed16'], Dot!['Relaxed32']].map(Number), [
    DOT.wide,
    DOT.relaxed16,
    DOT.relaxed32,
  ]);
  assert.equal(
    ['F32', 'F16', 'BF16', 'Q4_0', 'Q4_1', 'Q8_0', 'Q8_1'].map((key) => Number(Type![key])),
    [
      PANEL_TYPE.f32,
      PANEL_TYPE.f16,
      PANEL_TYPE.bf16,
      PANEL_TYPE.q4_0,
      PANEL_TYPE.q4_1,
      PANEL_TYPE.q8_0,
      PANEL_TYPE.q8_1,
    ],
  );
  assert.is(Number(group), GROUP);
});

test('no mutable static data: every segment is constant, and no global changes', () => {
  assert.not.match(text, /\(global \$assembly\/[^\n]*\(mut /);
  assert.not.match(text, /global\.set/);
});

test.run();
