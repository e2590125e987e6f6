/** The CPU kernels of Espalier: pure functions over linear memory. JavaScript allocates; nothing here keeps state. */
export * from './pack';
export * from './gemm';
export * from './panel';
export * from './quantise';
export * from './int8';
export * from './gemv';
export * from './gemv-four';
export * from './linear';
export * from './attention';
export * from './attention-backward';
export * from './attention-decode';
export * from './rope';
export * from './store';
export * from './norm';
export * from './activation';
export * from './logits';
export * from './route';
export * from './cast';
export * from './gemm64';
export * from './blas64';
export * from './copy64';
export * from './secular';
export * from './jacobi';
export * from './noise';
export * from './optimiser';

/** First byte that JavaScript may use: static data lie below. */
export function heapBase(): usize {
  return __heap_base;
}
