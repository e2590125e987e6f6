/** Every stable error code. A code never changes its meaning; a caller may switch on it. */
export type ErrorCode =
  // files and formats
  | 'E_FILE_NOT_FOUND' // a path, URL or member of a model folder that is not there
  | 'E_FILE_READ' // the host could not read bytes that should be there
  | 'E_FILE_WRITE' // the host could not write, apart from want of space
  | 'E_STORAGE_FULL' // the disk or the browser's quota is full
  | 'E_CHECKPOINT_FORMAT' // not a format we read, or its magic or version is wrong
  | 'E_CHECKPOINT_TRUNCATED' // the file ends before what its header promises
  | 'E_CHECKPOINT_HEADER' // the header itself is malformed: JSON, lengths, strings, duplicates
  | 'E_CHECKPOINT_LAYOUT' // tensors overlap, leave the data section, or disagree with their own shape
  | 'E_TENSOR_MISSING' // the architecture needs a tensor that the file does not hold
  | 'E_TENSOR_SHAPE' // a tensor is there with a shape that the configuration forbids
  | 'E_TENSOR_TYPE' // a tensor is stored in a type that we do not read there
  | 'E_TENSOR_VALUE' // NaN or infinity among weights or logits, or weights that compute nothing
  | 'E_CONFIG_INVALID' // config.json or GGUF metadata with missing, absurd or contradictory values
  | 'E_ARCHITECTURE_UNSUPPORTED' // a model family, activation or RoPE variant that we do not compute
  | 'E_TOKENIZER_INVALID' // tokenizer.json or GGUF vocabulary that cannot be used
  | 'E_DATA_INVALID' // a file of examples that is not of its format
  | 'E_TEMPLATE_INVALID' // chat template missing or failing
  | 'E_ADAPTER' // an adapter of another base, of a kind that we do not compute, or where a model is wanted
  | 'E_TARGET' // a layout of checkpoints that cannot hold the result
  // downloading
  | 'E_OFFLINE' // no connection, and not in the cache
  | 'E_DOWNLOAD' // a server refuses, lacks the file, fails, or breaks off again and again
  | 'E_DOWNLOAD_CORRUPT' // what a server sent is not what was promised: length or checksum
  // computing
  | 'E_OUT_OF_MEMORY'
  | 'E_DEVICE_UNSUPPORTED' // the host lacks something that the device needs (WebAssembly SIMD, threads, …)
  | 'E_DEVICE_LOST' // what a device computes on is gone: a GPU, or of a CPU device a lane
  | 'E_DISPOSED' // a tensor, cache or model was used after dispose()
  | 'E_SHAPE' // an operation was called with tensors that do not fit each other
  | 'E_CONTEXT_LENGTH' // the text is longer than the context of the model
  | 'E_DIVERGED' // training came to NaN or infinity in a loss, a gradient or a weight
  | 'E_STRAY_UPDATE' // a step of pruning changed, or was about to change, what it is not for
  | 'E_ABORTED' // the caller's AbortSignal fired
  // threads
  | 'E_WORKER_LOST' // a worker thread of the engine ended, or could not be started
  | 'E_NO_ISOLATION' // lanes were asked for where memory cannot be shared
  // calling
  | 'E_ARGUMENT'; // an option with a value outside its documented range

/** What tells such an error from any other. */
const MARK: unique symbol = Symbol.for('espalier.error');

/**
 * The one error class of the library: what happened (`message`), what to do (`hint`), a stable `code`, and the `cause`
 * where another error lies behind it.
 */
export class EspalierError extends Error {
  /**
   * Whichever copy of this class made it: a worker and what it fetches when a GPU is asked for are bundled apart, and a page may hold the package
   * twice.
   */
  static override [Symbol.hasInstance](value: unknown): value is EspalierError {
    return value instanceof Error && MARK in value;
  }

  // of the class and not of each, which Node would print
  get [MARK](): true {
    return true;
  }
  override readonly name = 'EspalierError';
  readonly code: ErrorCode;
  readonly hint: string;

  constructor(code: ErrorCode, message: string, hint: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.hint = hint;
  }

  override toString(): string {
    return `${this.code}: ${this.message} ${this.hint}`;
  }
}

/** Throws `E_ABORTED` when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

/** What a call ends with whose signal has fired. */
export function aborted(signal: AbortSignal): EspalierError {
  return new EspalierError('E_ABORTED', 'The operation was aborted.', 'Start it again when it is wanted.', {
    cause: signal.reason,
  });
}

/** Calls back when the signal fires, or at once when it has. @returns what ends it */
export function onAbort(signal: AbortSignal | undefined, listener: (reason: unknown) => void): () => void {
  if (!signal) return () => {};
  const abort = (): void => listener(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort);
  return () => signal.removeEventListener('abort', abort);
}
