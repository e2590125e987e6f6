/** The kernels of training: the way back of each in `Kernels`, beside it in assembly/, and the optimiser. */
export interface TrainKernels {
  axpy(n: number, alpha: number, x: number, y: number): void;
  columnSum(first: number, last: number, rows: number, n: number, x: number, out: number): void;
  sumSquares(first: number, last: number, block: number, n: number, x: number, sums: number): void;
  adamStep(
    n: number,
    parameters: number,
    gradient: number,
    m: number,
    v: number,
    gradientScale: number,
    beta1: number,
    rest1: number,
    beta2: number,
    rest2: number,
    unbias2: number,
    epsilon: number,
    rate: number,
    decay: number,
  ): void;
  packFloats(type: number, first: number, last: number, n: number, k: number, from: number, to: number): void;
  scatterAdd(
    first: number,
    last: number,
    tokens: number,
    k: number,
    rows: number,
    ids: number,
    x: number,
    to: number,
  ): void;
  linearBackwardScratch(columns: number): number;
  linearBackward(
    kernel: number,
    m: number,
    n: number,
    k: number,
    dY: number,
    type: number,
    panels: number,
    shift: number,
    first: number,
    last: number,
    dX: number,
    accumulate: number,
    scratch: number,
  ): void;
}
