import { EspalierError, throwIfAborted } from '../../errors.ts';
import { sha256 } from '../../runtime/files/hash.ts';
import { isState, JOURNAL, type OutputFolder } from '../../runtime/output/output.ts';
import { INDEX_FILE } from '../safetensors/folder.ts';
import { intactGroups } from './intact-groups.ts';
import { FORMAT, isOfAnotherFormat, Journal, type JournalContent, type JournalGroup, readJournal } from './journal.ts';
import { type Layout, layOut } from './layout.ts';
import { isResultFile } from './result-names.ts';
import { ShardStream } from './shard-stream.ts';
import { indexOf, planShards, type Shard, type TensorSpec, tensorBytes } from './shards.ts';

export { planShards, type Shard, type TensorSpec } from './shards.ts';

/** Kept free beside the shards: index, configuration, tokenizer, journal. In bytes. */
const MARGIN = 16 << 20;
const SYNC_INTERVAL = 10_000;

export interface OutputTensor extends TensorSpec {
  /** Its bytes in order, in pieces of any length. An array may be reused as soon as the next one is asked for. */
  bytes(): AsyncIterable<Uint8Array>;
}

/** Tensors that are made together, such as those of a layer: a job that was interrupted goes on at the beginning of a group. */
export interface OutputGroup {
  /** For people who read the journal. */
  readonly name: string;
  readonly tensors: readonly OutputTensor[];
  /** Called before its tensors. None of this is called when an earlier run has written the group. */
  begin?(): Promise<void>;
  /** Called behind its tensors; what it returns is kept, as JSON. */
  end?(): Promise<unknown>;
  /** Called last, whatever has failed since `begin` was called. */
  dispose?(): void;
}

export interface WriteOptions {
  /** Bytes of tensors in a file, default 5e9. */
  readonly maxShardBytes?: number | undefined;
  /** Whatever decides the content, apart from names, types and shapes: what an earlier run wrote under another one is not used. */
  readonly identity: string;
  /** `__metadata__` of each file; default `{ format: 'pt' }`, which transformers asks for. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /**
   * Called with the records of the groups that an earlier run has written and that are intact, before anything is changed: what it
   * throws, when they cannot be gone on with, comes out.
   */
  readonly onResume?: ((records: readonly unknown[]) => Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Bytes of the shards that are written, and in all. */
  readonly onProgress?: ((written: number, total: number) => void) | undefined;
  /** Throws away what an earlier run has written. */
  readonly restart?: boolean | undefined;
  /**
   * What writes, where its tensors can be had again: unfinished work of the same name and another identity gives way unasked. Default: any
   * unfinished work is worth a question.
   */
  readonly job?: string | undefined;
  /** Of other files in the folder those that stay when the work of another job is removed. Default: none. */
  readonly keeps?: ((name: string) => boolean) | undefined;
  /** At most this much work is lost in a power failure, beside the group that is being written; milliseconds, default 10,000. */
  readonly syncInterval?: number | undefined;
}

export interface Written {
  /** Shards, then the index where there are several. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** What `end` of each group returned, in this run or an earlier one; null where there is none. */
  readonly records: readonly unknown[];
  /** Groups that an earlier run had written. */
  readonly resumedGroups: number;
}

/**
 * Writes tensors as safetensors into a folder, or goes on where an earlier run with the same identity was ended: by a signal, an
 * error, `kill -9` or a power failure. The result is the same to the bit. The folder is neither committed nor released here.
 *
 * What is left of another job is removed first, with all its files; other files of the result are best written afterwards.
 *
 * @throws E_ARGUMENT when the folder holds unfinished work of another identity or version and `restart` is not set; E_STORAGE_FULL, before
 *   any work where the host says how much is free; E_FILE_WRITE, E_FILE_READ, E_ABORTED; what the groups throw
 */
export async function writeCheckpoint(
  out: OutputFolder,
  groups: readonly OutputGroup[],
  options: WriteOptions,
): Promise<Written> {
  throwIfAborted(options.signal);
  const plan = layOut(groups, planShards(groups, options.maxShardBytes, options.metadata));
  const identity = await identityOf(options.identity, groups, plan.shards);
  const earlier = await earlierWork(out, plan, identity, options);
  await checkSpace(out, plan, earlier);
  for (const name of earlier.remove) await out.remove(name);
  // folders in it, too
  if (options.restart) await out.clear(options.keeps ?? (() => false));

  const resumed = earlier.groups.length;
  const records = earlier.groups.map((group) => group.record);
  const journal = new Journal(await out.file(JOURNAL, earlier.journalBytes));
  try {
    const { job } = options;
    if (earlier.journalBytes === 0)
      await journal.append({ format: FORMAT, identity, ...(job !== undefined && { job }) });
    await journal.append({ boot: out.boot, from: resumed });
    // what is kept is looked at in the end like what is written
    for (const { name, bytes } of plan.shards.slice(0, plan.place(resumed).shard)) {
      await (await out.file(name, bytes)).close();
    }
    let written = plan.end(resumed);
    options.onProgress?.(written, plan.total);
    const stream = new ShardStream(out, plan.shards, plan.place(resumed), journal, {
      syncInterval: options.syncInterval ?? SYNC_INTERVAL,
      onWritten: (bytes) => options.onProgress?.((written += bytes), plan.total),
    });
    try {
      for (let g = resumed; g < groups.length; g++) {
        const record = await writeGroup(stream, groups[g]!, plan.shardsOf[g]!, options.signal);
        records.push(record);
        stream.done({ name: groups[g]!.name, position: plan.end(g + 1), record }, g + 1);
      }
      // a checkpoint without tensors has a header all the same
      if (plan.shards[0]!.tensors.length === 0) await stream.enter(0);
      await stream.end();
    } catch (error) {
      await stream.abandon();
      throw error;
    }
  } finally {
    await journal.close();
  }
  const files = plan.shards.map(({ name, bytes }) => ({ name, bytes }));
  if (files.length > 1) {
    const index = indexOf(plan.shards);
    await out.writeBytes(INDEX_FILE, index);
    files.push({ name: INDEX_FILE, bytes: index.byteLength });
  }
  return { files, records, resumedGroups: resumed };
}

/**
 * Which of several identities the unfinished work in a folder has, by its place in the list; null: none of them, or there is none. For jobs that may be
 * gone on with in one of several ways.
 */
export async function begunAs(
  out: OutputFolder,
  groups: readonly OutputGroup[],
  identities: readonly string[],
  { maxShardBytes, metadata }: Pick<WriteOptions, 'maxShardBytes' | 'metadata'> = {},
): Promise<number | null> {
  const bytes = await out.readBytes(JOURNAL);
  const content = bytes && readJournal(bytes, (boot) => out.survived(boot));
  if (!content || content.groups.length === 0) return null;
  const { shards } = layOut(groups, planShards(groups, maxShardBytes, metadata));
  const all = await Promise.all(identities.map((identity) => identityOf(identity, groups, shards)));
  const place = all.indexOf(content.identity);
  return place < 0 ? null : place;
}

/** What the group's `end` returns, as the journal will give it back. */
async function writeGroup(
  stream: ShardStream,
  group: OutputGroup,
  shards: readonly number[],
  signal: AbortSignal | undefined,
): Promise<unknown> {
  throwIfAborted(signal);
  try {
    await group.begin?.();
    for (const [i, tensor] of group.tensors.entries()) {
      throwIfAborted(signal);
      await stream.enter(shards[i]!);
      const wanted = tensorBytes(tensor);
      let length = 0;
      for await (const piece of tensor.bytes()) {
        throwIfAborted(signal);
        length += piece.byteLength;
        if (length > wanted) break;
        await stream.write(piece);
      }
      if (length !== wanted) throw new Error(`${tensor.name} has ${wanted} bytes by its shape, and ${length} came`);
    }
    throwIfAborted(signal);
    const record = JSON.stringify(await group.end?.());
    return record === undefined ? null : JSON.parse(record);
  } finally {
    group.dispose?.();
  }
}

/** Names, types and shapes decide too, and how they are divided. */
async function identityOf(identity: string, groups: readonly OutputGroup[], shards: readonly Shard[]): Promise<string> {
  const decoder = new TextDecoder();
  const files = shards.map(({ name, header }) => [name, decoder.decode(header.subarray(8))]);
  return sha256(JSON.stringify([identity, groups.map(({ name, tensors }) => [name, tensors.length]), files]));
}

interface Earlier {
  /** The groups that need not be written again. */
  readonly groups: readonly JournalGroup[];
  /** 0: begin a new one. */
  readonly journalBytes: number;
  /** Bytes of files by name. */
  readonly sizes: ReadonlyMap<string, number>;
  /** Files of another job. */
  readonly remove: readonly string[];
}

async function earlierWork(
  out: OutputFolder,
  plan: Layout,
  identity: string,
  { restart = false, signal, onResume, job, keeps = () => false }: WriteOptions,
): Promise<Earlier> {
  const { names } = await out.files();
  const sizes = new Map<string, number>();
  for (const name of names) sizes.set(name, (await out.size(name)) ?? 0);
  const others = names.filter((name) => !keeps(name));
  if (!restart && others.some(isState)) throw otherWork(out.name, 'is half trained by another job');
  const bytes = await out.readBytes(JOURNAL);
  if (!bytes) {
    // a folder without a journal may be anybody's: only what would be taken for a part of the result goes
    return { groups: [], journalBytes: 0, sizes, remove: restart ? others : others.filter(isResultFile) };
  }
  const content = readJournal(bytes, (boot) => out.survived(boot));
  if (!restart && content?.identity === identity) {
    const groups = await intactGroups(out, plan, usable(content, plan, sizes), signal);
    if (groups.length > 0) await onResume?.(groups.map(({ record }) => record));
    return { groups, journalBytes: content.length, sizes, remove: [] };
  }
  if (!restart) checkReplaceable(out, bytes, content, job);
  return { groups: [], journalBytes: 0, sizes, remove: [...others, JOURNAL] };
}

/**
 * Whether what a folder's journal tells of may be thrown away unasked; one without a journal may.
 * @param job as in `WriteOptions`
 * @param restarts whether who asks has an option `restart`
 * @throws E_ARGUMENT
 */
export async function checkNoOtherWork(out: OutputFolder, job: string | undefined, restarts: boolean): Promise<void> {
  const bytes = await out.readBytes(JOURNAL);
  if (bytes === null) return;
  checkReplaceable(
    out,
    bytes,
    readJournal(bytes, (boot) => out.survived(boot)),
    job,
    restarts,
  );
}

function checkReplaceable(
  { name }: OutputFolder,
  bytes: Uint8Array,
  content: JournalContent | null,
  job: string | undefined,
  restarts = true,
): void {
  const done = content?.groups.length ?? 0;
  const foreign = content === null && isOfAnotherFormat(bytes);
  if (!foreign && (done === 0 || (job !== undefined && content?.job === job))) return;
  throw foreign
    ? otherWork(name, 'is half written by another version of this program', { own: 'version', restarts })
    : otherWork(name, `is half written by another job: ${done} of its parts are done`, { restarts });
}

/** What is told where the work of another job would be lost. @param told `restarts`: whether who asks has an option `restart` */
export function otherWork(
  folder: string,
  what: string,
  { own = 'options', restarts = true }: { readonly own?: string; readonly restarts?: boolean } = {},
): EspalierError {
  const restart = restarts ? ', pass `restart: true` to throw its work away' : '';
  return new EspalierError(
    'E_ARGUMENT',
    `${folder} ${what}.`,
    `Finish that one with its own ${own}${restart}, or choose another folder.`,
  );
}

/** The leading groups whose bytes are there. All are, unless somebody has changed the files. */
function usable(content: JournalContent, plan: Layout, sizes: ReadonlyMap<string, number>): readonly JournalGroup[] {
  const isThere = (count: number): boolean => {
    const { shard, keep } = plan.place(count);
    return plan.shards.every(({ name, bytes }, i) => {
      const size = sizes.get(name) ?? 0;
      return i < shard ? size === bytes : i > shard || size >= keep;
    });
  };
  let count = content.groups.length;
  while (count > 0 && !isThere(count)) count--;
  return content.groups.slice(0, count);
}

/** @throws E_STORAGE_FULL when what is still to be written does not fit */
async function checkSpace(out: OutputFolder, plan: Layout, { groups, sizes, remove }: Earlier): Promise<void> {
  const free = await out.free();
  if (free === null) return;
  const sum = (names: readonly string[]): number => names.reduce((bytes, name) => bytes + (sizes.get(name) ?? 0), 0);
  const kept = plan.end(groups.length);
  // what lies there and is of no use goes first
  const freed = remove.length > 0 ? sum(remove) : sum(plan.shards.map(({ name }) => name)) - kept;
  const needed = plan.total - kept + MARGIN;
  if (kept === plan.total || needed <= free + freed) return;
  throw new EspalierError(
    'E_STORAGE_FULL',
    `${out.name} needs ${needed} bytes of space, and ${free + freed} are free.`,
    'Free space and start again, or choose another folder.',
  );
}
