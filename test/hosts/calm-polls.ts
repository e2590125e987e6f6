/**
 * Imported before a test that computes on a GPU in Node. The package `webgpu` asks whether the GPU is done by `setImmediate`, again and again, for as
 * long as anything is awaited. On a machine whose processor plays the GPU, this takes a core from what is waited for: half of what compiling a
 * kernel costs. Here it asks a few times at once, and from then on each millisecond.
 */
type Asking = (...args: unknown[]) => unknown;

/** Questions in a row without a pause: answers that are there soon come as soon. */
const EAGER = 16;

const { setImmediate: atOnce } = globalThis;
let isAsking = false;
let inRow = 0;

/** Whether it is a function of a native module. */
const isNative = (run: Asking): boolean => Function.prototype.toString.call(run).endsWith('{ [native code] }');

globalThis.setImmediate = Object.assign((run: Asking, ...args: unknown[]): NodeJS.Immediate => {
  if (!isNative(run)) return atOnce(run, ...args);
  inRow = isAsking ? inRow + 1 : 0;
  const ask = (): void => {
    isAsking = true;
    try {
      run(...args);
    } finally {
      isAsking = false;
    }
  };
  // nobody clears it, nor asks whether it keeps the process alive
  return inRow < EAGER ? atOnce(ask) : (setTimeout(ask, 1) as unknown as NodeJS.Immediate);
}, atOnce) as typeof setImmediate;
