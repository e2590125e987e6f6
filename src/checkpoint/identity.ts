import { EspalierError, throwIfAborted } from '../errors.ts';
import { ByteDigest } from '../runtime/files/byte-digest.ts';
import { sha256 } from '../runtime/files/hash.ts';
import type { ByteSource, FileStamp } from '../runtime/files/source.ts';
import { loadedTensors } from './required.ts';
import type { Checkpoint, ModelConfig, TensorEntry } from './types.ts';

/** Bytes that are read at a time where nobody else has read them. */
const PIECE = 4 << 20;

/** What is known of a tensor's bytes, to be compared later. */
export interface TensorDigest {
  readonly name: string;
  readonly digest: string;
  /** Of its file, before the tensor was read: while it is the same, so is the content. Null: nothing can be said without reading. */
  readonly stamp: string | null;
}

/**
 * Tells checkpoints apart by all bytes of their tensors. Tensors are taken from `checkpoint`, and what is read of them is hashed
 * on its way, so that nothing is read twice; what was begun and not read to its end is read in the end. In which order, by which
 * pieces and from which file a tensor came makes no difference.
 */
export class TensorDigests {
  /** The same checkpoint; whoever reads a tensor of it has it hashed. */
  readonly checkpoint: Checkpoint;
  readonly #watched = new Map<string, Watched>();
  readonly #taken = new Set<string>();

  constructor(checkpoint: Checkpoint) {
    const tensors = new Map<string, TensorEntry>();
    const files = new Map<ByteSource, Stamped>();
    for (const [name, entry] of checkpoint.tensors) {
      const file = files.get(entry.source) ?? new Stamped(entry.source);
      files.set(entry.source, file);
      const watched = new Watched(entry, file);
      this.#watched.set(name, watched);
      tensors.set(name, watched.entry);
    }
    this.checkpoint = { ...checkpoint, tensors };
  }

  /**
   * Identity of the model that was loaded: its configuration and every tensor of which something was read.
   * @param config where another is meant than the one that was loaded with
   * @throws E_FILE_READ, E_CHECKPOINT_TRUNCATED
   */
  async identity(config: ModelConfig = this.checkpoint.config): Promise<string> {
    return identityOf(config, this.#sorted());
  }

  /** What `identity` is when the model is loaded. Of its tensors those that nobody has read are read. @throws as `identity`, E_ABORTED */
  async loadedIdentity(signal?: AbortSignal): Promise<string> {
    const { config } = this.checkpoint;
    const loaded = loadedTensors(config);
    const list = sortedByName(this.#watched).filter(([name]) => loaded.has(name));
    return identityOf(config, list, signal);
  }

  /**
   * The tensors that were read since the last call.
   * @throws E_FILE_READ when a file was changed while it was read
   */
  async take(): Promise<TensorDigest[]> {
    const fresh = this.#sorted().filter(([name]) => !this.#taken.has(name));
    const digests: TensorDigest[] = [];
    for (const [name, watched] of fresh) {
      const digest = await watched.digest();
      digests.push({ name, digest, stamp: await watched.file.before() });
      this.#taken.add(name);
    }
    for (const file of new Set(fresh.map(([, watched]) => watched.file))) await file.check();
    return digests;
  }

  /**
   * The first of these tensors that is another now, or null. Those whose file is as it was are not read.
   * @throws E_FILE_READ, E_CHECKPOINT_TRUNCATED
   */
  async changed(digests: readonly TensorDigest[], onTensor: () => void = () => {}): Promise<string | null> {
    for (const { name, digest, stamp } of digests) {
      onTensor();
      const watched = this.#watched.get(name);
      if (!watched || !(await watched.is(digest, stamp))) return name;
    }
    return null;
  }

  /** Those of which something was read, by name. */
  #sorted(): [string, Watched][] {
    return sortedByName(this.#watched).filter(([, { isRead }]) => isRead);
  }
}

const sortedByName = (watched: ReadonlyMap<string, Watched>): [string, Watched][] =>
  [...watched].sort(([a], [b]) => (a < b ? -1 : 1));

async function identityOf(
  config: ModelConfig,
  list: readonly [string, Watched][],
  signal?: AbortSignal,
): Promise<string> {
  const parts: unknown[] = [];
  for (const [name, watched] of list) {
    throwIfAborted(signal);
    const { type, shape, rowOrder } = watched.entry;
    parts.push([name, type, shape, rowOrder, await watched.digest()]);
  }
  return sha256(JSON.stringify([2, configurationOf(config), parts]));
}

/** A file of tensors, and what the host said of it before the first of them was read. */
class Stamped {
  readonly source: ByteSource;
  #first: Promise<FileStamp | null> | null = null;

  constructor(source: ByteSource) {
    this.source = source;
  }

  now(): Promise<FileStamp | null> {
    return this.source.stamp?.() ?? Promise.resolve(null);
  }

  first(): Promise<FileStamp | null> {
    this.#first ??= this.now();
    return this.#first;
  }

  /** A stamp under which whatever was read since is known. */
  async before(): Promise<string | null> {
    const stamp = await this.first();
    return stamp?.isSettled ? stamp.key : null;
  }

  /** @throws E_FILE_READ when the content has changed since */
  async check(): Promise<void> {
    const [before, now] = [await this.first(), await this.now()];
    if (before === null || now === null || before.content === now.content) return;
    // of one that was cut, what is missing will be missed when it is read
    if (now.size < before.size) return;
    throw new EspalierError(
      'E_FILE_READ',
      `${this.source.name} was changed while it was read.`,
      'Start again when nothing writes to it.',
    );
  }
}

/** One tensor, and the digest of what has been read of it from its beginning on. */
class Watched {
  readonly entry: TensorEntry;
  readonly file: Stamped;
  isRead = false;
  readonly #bytes = new ByteDigest();
  #digest: Promise<string> | null = null;

  constructor(entry: TensorEntry, file: Stamped) {
    const { source } = file;
    this.file = file;
    this.entry = {
      ...entry,
      source: {
        name: source.name,
        size: source.size,
        readInto: async (offset, target) => {
          const { byteLength } = target;
          if (!this.isRead) await file.first();
          this.isRead = true;
          await source.readInto(offset, target);
          // memory that has grown meanwhile has taken the array away; then it is read again
          if (target.byteLength === byteLength) await this.#see(offset - entry.offset, target);
        },
        close: () => source.close(),
      },
    };
  }

  digest(): Promise<string> {
    this.#digest ??= this.#finish();
    return this.#digest;
  }

  async is(digest: string, stamp: string | null): Promise<boolean> {
    if (stamp !== null && (await this.file.before()) === stamp) return true;
    return (await this.digest()) === digest;
  }

  /** Takes what follows upon what was seen. What is skipped is read in the end; what is read twice is known. */
  async #see(at: number, bytes: Uint8Array): Promise<void> {
    const from = this.#bytes.length - at;
    // neighbours of the tensor that are read with it are not its own
    const to = Math.min(bytes.byteLength, this.entry.byteLength - at);
    if (this.#digest || from < 0 || from >= to) return;
    await this.#bytes.update(bytes.subarray(from, to));
  }

  async #finish(): Promise<string> {
    const { offset, byteLength } = this.entry;
    await this.file.first();
    while (this.#bytes.length < byteLength) {
      const piece = new Uint8Array(Math.min(PIECE, byteLength - this.#bytes.length));
      await this.file.source.readInto(offset + this.#bytes.length, piece);
      await this.#bytes.update(piece);
    }
    return this.#bytes.hex();
  }
}

/** What tells a checkpoint from another before a weight is read: its configuration, and its tensors by name, type and shape. */
export async function headerIdentity(checkpoint: Checkpoint): Promise<string> {
  const tensors = [...checkpoint.tensors.values()]
    .map(({ name, type, shape, rowOrder }) => [name, type, shape, rowOrder] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return sha256(JSON.stringify([2, configurationOf(checkpoint.config), tensors]));
}

function configurationOf(config: ModelConfig): unknown {
  return [config, [...(config.rope.frequencyDivisors ?? [])]];
}
