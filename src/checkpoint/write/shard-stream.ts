import { ByteDigest } from '../../runtime/files/byte-digest.ts';
import type { OutputFile, OutputFolder } from '../../runtime/output/output.ts';
import type { Journal, JournalGroup } from './journal.ts';
import type { Place } from './layout.ts';
import type { Shard } from './shards.ts';

/** Most bytes of a write; there are two such buffers. */
const BUFFER = 8 << 20;

interface Slot {
  bytes: Uint8Array | null;
  /** Resolves when it may be filled again. */
  free: Promise<void>;
}

export interface StreamOptions {
  /** Milliseconds from a sync to the next. */
  readonly syncInterval: number;
  /** Bytes that the host has taken. */
  readonly onWritten: (bytes: number) => void;
}

/**
 * Writes shards one after the other. One buffer is on its way to the disk while the other is filled, so that computing and writing
 * overlap. What is to be done is queued; when a part of it fails nothing after it is done, and the next call throws the error.
 */
export class ShardStream {
  readonly #out: OutputFolder;
  readonly #shards: readonly Shard[];
  readonly #start: Place;
  readonly #journal: Journal;
  readonly #options: StreamOptions;
  readonly #slots: [Slot, Slot] = [
    { bytes: null, free: Promise.resolve() },
    { bytes: null, free: Promise.resolve() },
  ];
  /** Bytes of a buffer. */
  readonly #size: number;
  /** Bytes in the first slot, the one that is being filled. */
  #fill = 0;
  #queue: Promise<void> = Promise.resolve();
  /** The shard that writes belong to. */
  #shard = -1;
  /** The shard whose file is open: it opens and closes in the queue, later than the call. */
  #open: { readonly shard: Shard; readonly file: OutputFile } | null = null;
  /** Whole shards that may not outlive a power failure yet, those of earlier runs among them. */
  readonly #unsynced: Shard[];
  #syncing: Promise<void> | null = null;
  #syncFault: { readonly cause: unknown } | null = null;
  #lastSync = performance.now();
  /** Of the group that is being written. */
  #digest = new ByteDigest();

  constructor(out: OutputFolder, shards: readonly Shard[], start: Place, journal: Journal, options: StreamOptions) {
    this.#out = out;
    this.#shards = shards;
    this.#start = start;
    this.#journal = journal;
    this.#options = options;
    this.#size = Math.min(
      BUFFER,
      shards.reduce((sum, { bytes }) => sum + bytes, 0),
    );
    this.#unsynced = shards.slice(0, start.shard);
  }

  /** What is written next belongs to this shard: the one before, or the next. */
  async enter(index: number): Promise<void> {
    if (index === this.#shard) return;
    this.#flush();
    const shard = this.#shards[index]!;
    const keep = index === this.#start.shard ? this.#start.keep : 0;
    this.#shard = index;
    this.#enqueue(async () => {
      await this.#leave();
      this.#open = { shard, file: await this.#out.file(shard.name, keep) };
    });
    if (keep === 0) await this.#append(shard.header);
  }

  /**
   * Appends to the group's tensors; the array may be reused when the promise has resolved.
   * @throws E_STORAGE_FULL, E_FILE_WRITE, also of earlier writes
   */
  async write(bytes: Uint8Array): Promise<void> {
    await this.#digest.update(bytes);
    await this.#append(bytes);
  }

  async #append(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.byteLength; ) {
      const slot = this.#slots[0];
      await slot.free;
      if (this.#syncFault) throw this.#syncFault.cause;
      slot.bytes ??= new Uint8Array(this.#size);
      const part = bytes.subarray(done, done + this.#size - this.#fill);
      slot.bytes.set(part, this.#fill);
      this.#fill += part.byteLength;
      done += part.byteLength;
      if (this.#fill === this.#size) this.#flush();
    }
  }

  /** The group is whole with what has been written until now: when that has gone to the host, the journal says so. */
  done(group: Omit<JournalGroup, 'sum'>, count: number): void {
    this.#flush();
    const digest = this.#digest;
    this.#digest = new ByteDigest();
    this.#enqueue(async () => {
      await this.#journal.append({ done: { ...group, sum: await digest.hex() } });
      this.#sync(count);
    });
  }

  /** Waits until all is with the host. */
  async end(): Promise<void> {
    this.#flush();
    this.#enqueue(() => this.#leave());
    await this.#queue;
    if (this.#syncFault) throw this.#syncFault.cause;
  }

  /** After a failure: closes what is open. */
  async abandon(): Promise<void> {
    await this.#queue.catch(() => {});
    await this.#leave().catch(() => {});
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const next = this.#queue.then(work);
    next.catch(() => {}); // thrown by the next call that waits
    this.#queue = next;
    return next;
  }

  #flush(): void {
    const [slot, other] = this.#slots;
    if (this.#fill === 0) return;
    const bytes = slot.bytes!.subarray(0, this.#fill);
    slot.free = this.#enqueue(async () => {
      await this.#open!.file.write(bytes);
      this.#options.onWritten(bytes.byteLength);
    });
    this.#slots[0] = other;
    this.#slots[1] = slot;
    this.#fill = 0;
  }

  async #leave(): Promise<void> {
    await this.#syncing; // it needs the file
    const open = this.#open;
    if (!open) return;
    this.#open = null;
    await open.file.close();
    this.#unsynced.push(open.shard);
  }

  /** Begins to sync what was written until now, `count` groups, unless that was done lately. Nobody waits for it. */
  #sync(count: number): void {
    if (this.#syncing || performance.now() - this.#lastSync < this.#options.syncInterval) return;
    this.#syncing = this.#syncNow(count)
      .catch((cause) => {
        this.#syncFault = { cause };
      })
      .finally(() => {
        this.#syncing = null;
        this.#lastSync = performance.now();
      });
  }

  async #syncNow(count: number): Promise<void> {
    for (let shard = this.#unsynced[0]; shard; shard = this.#unsynced[0]) {
      const file = await this.#out.file(shard.name, shard.bytes);
      try {
        await file.sync();
      } finally {
        await file.close();
      }
      this.#unsynced.shift();
    }
    await this.#open?.file.sync();
    await this.#journal.append({ synced: count });
    await this.#journal.sync();
  }
}
