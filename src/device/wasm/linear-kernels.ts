/** The f64 kernels of linear algebra: assembly/gemm64.ts, blas64.ts, copy64.ts, secular.ts, jacobi.ts have what each does. Strides in bytes. */
export interface LinearKernels {
  gemm64Scratch(n: number, k: number): number;
  gemm64(
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
    diagonal: number,
    scratch: number,
  ): void;
  dot64(n: number, x: number, y: number): number;
  axpy64(n: number, alpha: number, x: number, y: number): void;
  scale64(n: number, alpha: number, x: number): void;
  rotate64(n: number, x: number, y: number, c: number, s: number): void;
  gemv64(
    first: number,
    last: number,
    n: number,
    alpha: number,
    a: number,
    ld: number,
    x: number,
    y: number,
    accumulate: number,
  ): void;
  gemvT64(rows: number, n: number, alpha: number, a: number, ld: number, x: number, y: number): void;
  ger64(first: number, last: number, n: number, alpha: number, x: number, y: number, a: number, ld: number): void;
  symv64(first: number, last: number, n: number, a: number, ld: number, x: number, y: number): void;
  transpose64(first: number, last: number, cols: number, a: number, ld: number, to: number, ldTo: number): void;
  mirror64(n: number, a: number, ld: number): void;
  largest64(n: number, x: number): number;
  secularEigen(
    first: number,
    last: number,
    k: number,
    norm2: number,
    d: number,
    z: number,
    bases: number,
    taus: number,
    out: number,
  ): void;
  secularSingular(
    first: number,
    last: number,
    k: number,
    norm2: number,
    d: number,
    z: number,
    bases: number,
    taus: number,
    out: number,
  ): void;
  weightsEigen(
    first: number,
    last: number,
    k: number,
    d: number,
    z: number,
    bases: number,
    taus: number,
    to: number,
  ): void;
  weightsSingular(
    first: number,
    last: number,
    k: number,
    d: number,
    z: number,
    bases: number,
    taus: number,
    to: number,
  ): void;
  vectorsEigen(
    first: number,
    last: number,
    k: number,
    d: number,
    z: number,
    bases: number,
    taus: number,
    to: number,
    ld: number,
  ): void;
  vectorsSingular(
    first: number,
    last: number,
    k: number,
    zero: number,
    d: number,
    z: number,
    bases: number,
    taus: number,
    left: number,
    right: number,
    ld: number,
  ): void;
  jacobi64(
    firstI: number,
    lastI: number,
    firstJ: number,
    lastJ: number,
    n: number,
    g: number,
    ldg: number,
    norms: number,
    v: number,
    ldv: number,
    width: number,
    tolerance: number,
    out: number,
  ): void;
  norms64(first: number, last: number, n: number, g: number, ldg: number, norms: number): void;
}
