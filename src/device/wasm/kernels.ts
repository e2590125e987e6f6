import type { LinearKernels } from './linear-kernels.ts';
import type { TrainKernels } from './train-kernels.ts';

/** Addresses and counts are plain numbers; see assembly/ for what each function does and for the shapes. */
export interface Kernels extends LinearKernels, TrainKernels {
  heapBase(): number;
  gemm(
    kernel: number,
    m: number,
    n: number,
    k: number,
    alpha: number,
    a: number,
    aRowStride: number,
    aKStride: number,
    b: number,
    bKStride: number,
    bColStride: number,
    c: number,
    ldc: number,
    accumulate: number,
    scratch: number,
  ): void;
  matvecRows(
    x: number,
    b: number,
    first: number,
    last: number,
    k: number,
    alpha: number,
    c: number,
    accumulate: number,
  ): void;
  gemmScratch(n: number): number;
  microRows(kernel: number): number;
  micro(kernel: number, kc: number, a: number, b: number, c: number, ldc: number, accumulate: number): void;
  tileRelaxed16(blocks: number, a: number, w: number, scale: number, d: number, c: number): void;
  tileRelaxed32(blocks: number, a: number, w: number, scale: number, d: number, c: number): void;
  panelBytes(type: number, k: number): number;
  packPanels(
    type: number,
    first: number,
    last: number,
    rows: number,
    k: number,
    from: number,
    order: number,
    most: number,
    to: number,
  ): void;
  shiftScales(type: number, first: number, last: number, panels: number, k: number, shift: number): void;
  unpackPanel(type: number, panel: number, k: number, k0: number, kc: number, shift: number, to: number): void;
  gatherRow(type: number, panels: number, k: number, row: number, shift: number, to: number): void;
  quantiseRows(x: number, rows: number, k: number, wide: number, codes: number, blocks: number, temp: number): void;
  tileRows(dot: number): number;
  quantiseTiles(
    x: number,
    stride: number,
    rows: number,
    k: number,
    mr: number,
    wide: number,
    first: number,
    last: number,
    codes: number,
    scales: number,
    sums: number,
    places: number,
    temp: number,
  ): void;
  placeChannels(
    x: number,
    stride: number,
    rows: number,
    k: number,
    first: number,
    last: number,
    places: number,
    temp: number,
  ): void;
  matvecDense(
    type: number,
    panels: number,
    first: number,
    last: number,
    n: number,
    k: number,
    rows: number,
    x: number,
    fours: number,
    y: number,
    yStride: number,
    scratch: number,
  ): void;
  fourScratch(): number;
  interleaveFour(x: number, stride: number, rows: number, k: number, to: number): void;
  matvecQuantised(
    type: number,
    panels: number,
    first: number,
    last: number,
    n: number,
    k: number,
    shift: number,
    dot: number,
    rows: number,
    codes: number,
    blocks: number,
    y: number,
    yStride: number,
    scratch: number,
  ): void;
  linearExactScratch(): number;
  linearExact(
    kernel: number,
    m: number,
    k: number,
    n: number,
    x: number,
    xStride: number,
    type: number,
    panels: number,
    shift: number,
    first: number,
    last: number,
    y: number,
    yStride: number,
    scratch: number,
  ): void;
  linearInt8Scratch(k: number): number;
  linearInt8(
    dot: number,
    m: number,
    k: number,
    n: number,
    codes: number,
    scales: number,
    sums: number,
    places: number,
    type: number,
    panels: number,
    shift: number,
    first: number,
    last: number,
    y: number,
    yStride: number,
    scratch: number,
  ): void;
  attentionPrefillScratch(keys: number, headDim: number): number;
  attentionPrefill(
    kernel: number,
    rows: number,
    base: number,
    nHeads: number,
    nKvHeads: number,
    headDim: number,
    firstKv: number,
    lastKv: number,
    scale: number,
    q: number,
    qStride: number,
    keys: number,
    values: number,
    window: number,
    mask: number,
    maskWidth: number,
    out: number,
    outStride: number,
    sums: number,
    scratch: number,
  ): void;
  mergeAttention(
    first: number,
    last: number,
    heads: number,
    headDim: number,
    factor: number,
    a: number,
    sumsA: number,
    b: number,
    sumsB: number,
    out: number,
  ): void;
  decodeChunks(positions: number): number;
  attentionDecodeScratch(nHeads: number): number;
  attentionDecode(
    first: number,
    last: number,
    start: number,
    keys: number,
    nHeads: number,
    nKvHeads: number,
    headDim: number,
    scale: number,
    q: number,
    keysAt: number,
    valuesAt: number,
    outs: number,
    stats: number,
    scratch: number,
  ): void;
  mergeDecode(chunks: number, nHeads: number, headDim: number, outs: number, stats: number, out: number): void;
  rope(
    first: number,
    last: number,
    heads: number,
    headDim: number,
    rotaryDims: number,
    interleaved: number,
    x: number,
    stride: number,
    positions: number,
    fixed: number,
    table: number,
    tableRows: number,
  ): void;
  placeRows(
    first: number,
    last: number,
    layerRows: number,
    heads: number,
    headDim: number,
    rotaryDims: number,
    interleaved: number,
    type: number,
    from: number,
    scales: number,
    factor: number,
    tables: number,
    to: number,
    capacity: number,
    toRow: number,
  ): void;
  storeRows(
    first: number,
    last: number,
    heads: number,
    headDim: number,
    type: number,
    from: number,
    to: number,
    scales: number,
    work: number,
  ): void;
  rmsNorm(
    first: number,
    last: number,
    n: number,
    eps: number,
    x: number,
    xStride: number,
    weight: number,
    y: number,
    yStride: number,
  ): void;
  addRmsNorm(
    first: number,
    last: number,
    n: number,
    eps: number,
    x: number,
    residual: number,
    weight: number,
    y: number,
    stride: number,
  ): void;
  siluMultiply(
    first: number,
    last: number,
    n: number,
    gate: number,
    gateStride: number,
    up: number,
    upStride: number,
    y: number,
    yStride: number,
  ): void;
  geluMultiply: Kernels['siluMultiply'];
  add(n: number, x: number, y: number): void;
  addBias(first: number, last: number, n: number, bias: number, y: number, stride: number): void;
  scale(n: number, factor: number, x: number): void;
  scaleRows(first: number, last: number, n: number, coefficients: number, step: number, x: number, out: number): void;
  softmax(first: number, last: number, n: number, x: number, stride: number): void;
  logitStats(
    first: number,
    last: number,
    n: number,
    x: number,
    stride: number,
    targets: number,
    q: number,
    numbers: number,
    places: number,
  ): void;
  topK(n: number, k: number, x: number, values: number, places: number): void;
  routeScratch(experts: number): number;
  route(
    first: number,
    last: number,
    experts: number,
    k: number,
    logits: number,
    bias: number,
    score: number,
    renormalise: number,
    scale: number,
    groups: number,
    topGroups: number,
    top2: number,
    places: number,
    weights: number,
    scratch: number,
  ): void;
  dispatchSlots(slots: number, experts: number, places: number, order: number, offsets: number): void;
  invertOrder(slots: number, order: number, places: number): void;
  gatherRows(
    first: number,
    last: number,
    rows: number,
    k: number,
    n: number,
    x: number,
    order: number,
    out: number,
  ): void;
  combine(
    first: number,
    last: number,
    k: number,
    n: number,
    y: number,
    slots: number,
    weights: number,
    out: number,
  ): void;
  sigmoidScale(first: number, last: number, n: number, gate: number, x: number): void;
  f16ToF32(n: number, from: number, to: number): void;
  bf16ToF32(n: number, from: number, to: number): void;
  f32ToF16(n: number, from: number, to: number): void;
  f32ToBf16(n: number, from: number, to: number): void;
  notFinite(n: number, x: number): number;
  perturb(
    n: number,
    to: number,
    type: number,
    anchor: number,
    from: number,
    scale: number,
    std: number,
    seed: number,
    stream0: number,
    stream1: number,
    first: number,
    scratch: number,
  ): void;
  perturbScratch(): number;
}

/** A kernel by its name. */
export type KernelName = keyof Kernels;

/** Type numbers of assembly/panel.ts. */
export const PANEL_TYPE = { f32: 0, f16: 1, bf16: 2, q4_0: 3, q4_1: 4, q8_0: 5, q8_1: 6 } as const;
/** Micro-kernel numbers of assembly/gemm.ts. */
export const MICRO = { splat6Fused: 0, lane4Fused: 1, splat6: 2, lane4: 3, splat5: 4 } as const;
/** Dot numbers of assembly/int8.ts. */
export const DOT = { wide: 0, relaxed16: 1, relaxed32: 2 } as const;

/** Numbers of scores of assembly/route.ts. */
export const SCORE = { softmax: 0, 'selected-softmax': 1, sigmoid: 2 } as const;
export const GROUP_SCORE = { max: 0, top2: 1 } as const;
/** Numbers of RoPE's layouts of assembly/rope.ts. */
export const ROPE_LAYOUT = { half: 0, interleaved: 1 } as const;

/** Type numbers of assembly/store.ts. */
export const ROW_TYPE = { f32: 0, f16: 1, int8: 2, int4: 3 } as const;

/** Rows that share their channel apart (assembly/quantise.ts). */
export const GROUP = 40;
