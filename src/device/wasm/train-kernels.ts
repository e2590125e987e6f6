/** The kernels of training: the way back of each in `Kernels`, beside it in assembly/, and the optimiser. */
export interface TrainKernels {
  axpy(n: number, alpha: number, x: number, y: number): void;
}
