import { allFinite } from '../../checkpoint/finite.ts';
import { EspalierError } from '../../errors.ts';
import type { OutputFolder } from '../../runtime/output/output.ts';
import type { AdamW } from '../optimiser.ts';
import type { Trainable } from '../trainable.ts';
import { diverged, type TrainingProgress } from '../trainer.ts';
import { type NamedTensor, readTensors, sizeOfTensors, type WrittenFile, writeTensors } from './tensors.ts';

const FORMAT = 'espalier-training-state';
const VERSION = 1;
/** `espalier-training-000200.json` says what is known after 200 steps, the file of the same name with tensors holds them. */
const OWN = /^espalier-training-(?:best-)?(\d{6,})\.(json|safetensors)$/;
/** Kept free beside a state, in bytes. */
const MARGIN = 1 << 20;
/** Bytes of the largest description. */
const MOST = 1 << 26;

/** What decides the course of a training: a state is gone on with only where all of it is the same. */
export interface Identity {
  readonly options: unknown;
  /** Digests. */
  readonly model: string;
  readonly data: string;
}

/** Moments that are kept and restored: those of one optimiser, or of several. */
export type MomentsBook = Pick<AdamW, 'moments' | 'momentsOf'>;

/** What is known of a job beside its tensors: plain data. */
export interface StepsDone {
  readonly step: number;
}

/** A state as it stands in a folder. */
export interface SavedState<P extends StepsDone = TrainingProgress> {
  readonly format: typeof FORMAT;
  readonly version: typeof VERSION;
  readonly identity: Identity;
  readonly progress: P;
  /** What computed it, for the same bits: of the wasm device its kernels. */
  readonly device: unknown;
  /** By parameter: steps that it was trained in, of those that were. */
  readonly updates: Readonly<Record<string, number>>;
  /** Weights and moments. */
  readonly tensors: WrittenFile;
  /** Weights alone, of the best held-out loss. */
  readonly best: WrittenFile | null;
}

/**
 * States of a training in the folder that its result goes to. One is a file of tensors, synced, and then a description, synced: a
 * description that can be read has its tensors, whatever ended the program. The state before goes only then.
 */
export class States<P extends StepsDone = TrainingProgress> {
  readonly #out: OutputFolder;
  readonly #identity: Identity;
  readonly #device: unknown;
  #best: WrittenFile | null = null;
  /** Of the state that stands; 0: none does. */
  #step = 0;

  constructor(out: OutputFolder, identity: Identity, device: unknown) {
    this.#out = out;
    this.#identity = identity;
    this.#device = device;
  }

  /** The newest state in a folder, of whatever training; null: there is none. @throws E_FILE_READ */
  static async latest<P extends StepsDone = TrainingProgress>(out: OutputFolder): Promise<SavedState<P> | null> {
    const { names } = await out.files();
    const descriptions = names.filter((name) => OWN.exec(name)?.[2] === 'json').sort((a, b) => stepOf(b) - stepOf(a));
    for (const name of descriptions) {
      const state = parsed<P>(await out.readBytes(name));
      if (state && (await out.size(state.tensors.name)) === state.tensors.bytes) return state;
    }
    return null;
  }

  /** Puts a state's weights and moments where they belong. @throws E_FILE_READ, E_OUT_OF_MEMORY */
  async restore(state: SavedState<P>, trainable: Trainable, optimiser: MomentsBook): Promise<void> {
    for (const parameter of trainable.parameters) {
      const updates = state.updates[parameter.name];
      if (updates !== undefined) optimiser.momentsOf(parameter).updates = updates;
    }
    await readTensors(await this.#out.files(), state.tensors, trainable.device, allOf(trainable, optimiser));
    trainable.repack();
    this.#best = state.best;
    this.#step = state.progress.step;
  }

  /** @throws E_STORAGE_FULL, E_FILE_WRITE, and then the state before is still there; E_DIVERGED for weights that are no numbers */
  async save(trainable: Trainable, optimiser: MomentsBook, progress: P): Promise<void> {
    const list = allOf(trainable, optimiser);
    const name = nameOf(progress.step, 'safetensors');
    const tensors = await this.#write(name, trainable, list);
    const state: SavedState<P> = {
      format: FORMAT,
      version: VERSION,
      identity: this.#identity,
      progress,
      device: this.#device,
      updates: Object.fromEntries([...optimiser.moments].map(([parameter, { updates }]) => [parameter, updates])),
      tensors,
      best: this.#best,
    };
    await this.#describe(nameOf(progress.step, 'json'), state);
    this.#step = progress.step;
    await clearStates(this.#out, [name, nameOf(progress.step, 'json'), ...(this.#best ? [this.#best.name] : [])]);
  }

  /** Keeps the weights alone, to come back to. What was best before stays as long as a state names it. */
  async saveBest(trainable: Trainable, { step }: StepsDone): Promise<void> {
    this.#best = await this.#write(nameOf(step, 'safetensors', 'best-'), trainable, weightsOf(trainable));
  }

  /** Puts the best weights back. */
  async restoreBest(trainable: Trainable): Promise<void> {
    if (this.#best === null) return;
    await readTensors(await this.#out.files(), this.#best, trainable.device, weightsOf(trainable));
    trainable.repack();
  }

  async #write(name: string, trainable: Trainable, list: readonly NamedTensor[]): Promise<WrittenFile> {
    await this.#checkSpace(sizeOfTensors(list), name);
    try {
      return await writeTensors(this.#out, name, trainable.device, list, (values, own) => {
        if (!allFinite(values)) throw diverged(`Training diverged: ${own} has NaN or infinity in it.`, this.#step);
      });
    } catch (error) {
      // half a file is of no use to anyone
      await this.#out.remove(name).catch(() => {});
      throw error;
    }
  }

  async #describe(name: string, state: SavedState<P>): Promise<void> {
    const file = await this.#out.file(name, 0);
    try {
      await file.write(new TextEncoder().encode(`${JSON.stringify(state)}\n`));
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async #checkSpace(bytes: number, name: string): Promise<void> {
    const free = await this.#out.free();
    if (free === null || bytes + MARGIN <= free) return;
    throw new EspalierError(
      'E_STORAGE_FULL',
      `${name} of ${this.#out.name} needs ${bytes} bytes of space, and ${free} are free.`,
      'Free space and start again: the state before is kept.',
    );
  }
}

/** Whether a file of such a folder is a part of a state. */
export const isState = (name: string): boolean => OWN.test(name);

/** Removes all states but these files. @throws E_FILE_WRITE */
export async function clearStates(out: OutputFolder, keep: readonly string[] = []): Promise<void> {
  const { names } = await out.files();
  const old = names.filter((name) => isState(name) && !keep.includes(name));
  // descriptions first: one must not outlive its tensors
  old.sort((a, b) => Number(a.endsWith('.safetensors')) - Number(b.endsWith('.safetensors')));
  for (const name of old) await out.remove(name);
}

/**
 * Whether a state is one of the training that is asked for, as far as that is known.
 * @param folder for the message
 * @throws E_ARGUMENT that says what differs
 */
export function checkIdentity<P extends StepsDone>(
  { identity, progress }: SavedState<P>,
  wanted: Partial<Identity>,
  folder: string,
): void {
  const parts = Object.keys(wanted) as (keyof Identity)[];
  const other = parts.filter((part) => JSON.stringify(identity[part]) !== JSON.stringify(wanted[part]));
  if (other.length === 0) return;
  const names: Readonly<Record<keyof Identity, string>> = {
    options: 'other options',
    model: 'another model',
    data: 'other data',
  };
  throw new EspalierError(
    'E_ARGUMENT',
    `${folder} is half trained with ${other.map((part) => names[part]).join(' and ')}: ${progress.step} steps are done.`,
    'Go on with the same, pass `restart: true` to throw that work away, or choose another folder.',
  );
}

function stepOf(name: string): number {
  return Number(OWN.exec(name)![1]);
}

function nameOf(step: number, end: 'json' | 'safetensors', kind = ''): string {
  return `espalier-training-${kind}${String(step).padStart(6, '0')}.${end}`;
}

const weightsOf = ({ parameters }: Trainable): NamedTensor[] =>
  parameters.map(({ name, value }) => ({ name, tensor: value }));

/** Weights, and moments of what was trained: in an order that depends on neither. */
function allOf(trainable: Trainable, optimiser: MomentsBook): NamedTensor[] {
  const moments = trainable.parameters.flatMap(({ name }) => {
    const own = optimiser.moments.get(name);
    if (own === undefined) return [];
    return [
      { name: `m/${name}`, tensor: own.m },
      { name: `v/${name}`, tensor: own.v },
    ];
  });
  return [...weightsOf(trainable).map(({ name, tensor }) => ({ name: `value/${name}`, tensor })), ...moments];
}

/** A description that was written to its end, of this version. */
function parsed<P extends StepsDone>(bytes: Uint8Array | null): SavedState<P> | null {
  if (bytes === null || bytes.byteLength > MOST) return null;
  try {
    const state = JSON.parse(new TextDecoder().decode(bytes)) as SavedState<P>;
    return state.format === FORMAT && state.version === VERSION ? state : null;
  } catch {
    return null;
  }
}
