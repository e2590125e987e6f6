/** A GPUDevice that several of ours share, with the pipelines that were compiled for it, and what is known of its end. */
import { EspalierError } from '../../errors.ts';
import { type AdapterFacts, adapterFacts, requestAdapter, requestDevice } from './adapter.ts';
import { type Framed, framed, type GpuTraits, type Kernel } from './kernel.ts';
import { type MatrixShape, matrixShapeOf } from './matrix-shape.ts';
import type { TileRates } from './tile.ts';

/** A kernel as compiled. */
export interface Pipeline extends Omit<Framed, 'code'> {
  /** Null until it is compiled. */
  pipeline: GPUComputePipeline | null;
  /** Why it is not. */
  refused: EspalierError | null;
  readonly layout: GPUBindGroupLayout;
  /** Resolves when it is, or is refused. */
  readonly ready: Promise<void>;
}

/** A device of ours, which is told what it cannot know. */
export interface GpuUser {
  /** The GPU said this of a command. */
  failed(error: EspalierError): void;
  lost(error: EspalierError): void;
}

export class GpuContext {
  readonly device: GPUDevice;
  readonly traits: GpuTraits;
  /** Of matrix units; null: there are none, or nobody asked for them. */
  readonly matrixShape: MatrixShape | null;
  readonly facts: AdapterFacts;
  /** Most bytes of a binding. */
  readonly bindingLimit: number;
  /** How fast its tiles are, once that is known. */
  tiles: TileRates | null = null;
  /** Finds that out. */
  tune: (() => Promise<void>) | null = null;
  #tileProducts = 0;
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #own: boolean;
  /** Our devices on it. */
  readonly #users = new Set<GpuUser>();
  /** Who is about to be one. */
  #opening = 0;
  #closed = false;
  /** Why nothing can be computed any more. */
  lost: EspalierError | null = null;

  private constructor(device: GPUDevice, facts: AdapterFacts, own: boolean, adapter: GPUAdapterInfo | undefined) {
    this.device = device;
    this.facts = facts;
    this.#own = own;
    const { limits } = device;
    this.bindingLimit = limits.maxStorageBufferBindingSize - (limits.maxStorageBufferBindingSize % 256);
    const info = infoOf(device);
    const [least, most] = [info?.subgroupMinSize ?? 0, info?.subgroupMaxSize ?? 0];
    this.traits = {
      features: new Set([...device.features]),
      invocations: limits.maxComputeInvocationsPerWorkgroup,
      workgroupBytes: limits.maxComputeWorkgroupStorageSize,
      subgroupSize: least === most && device.features.has('subgroups') ? least : 0,
    };
    this.matrixShape = matrixShapeOf(adapter, this.traits);
    device.addEventListener('uncapturederror', (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      event.preventDefault();
      // nobody knows whose command it was
      for (const user of this.#users) user.failed(errorOf(error));
    });
    void device.lost.then(({ reason, message }) => {
      if (reason === 'destroyed' && this.#isUnused) return;
      this.#end(`The GPU is gone (${reason}): ${message || 'nothing more is known'}.`);
    });
  }

  /** Followed by `use`, or by `release` alone. @throws E_DEVICE_UNSUPPORTED */
  static async open(given: GPUDevice | null): Promise<GpuContext> {
    if (given) {
      let of = byDevice.get(given);
      if (!of) {
        of = new GpuContext(given, factsOfDevice(given), false, infoOf(given));
        byDevice.set(given, of);
      }
      of.#opening++;
      return of;
    }
    shared ??= GpuContext.#make();
    const mine = shared;
    try {
      const context = await mine;
      if (context.lost || context.#closed) {
        if (shared === mine) shared = null;
        return await GpuContext.open(null);
      }
      context.#opening++;
      return context;
    } catch (error) {
      if (shared === mine) shared = null;
      throw error;
    }
  }

  static async #make(): Promise<GpuContext> {
    const adapter = await requestAdapter();
    if (!adapter) {
      throw new EspalierError(
        'E_DEVICE_UNSUPPORTED',
        'There is no GPU that WebGPU can use here.',
        'Use device "wasm". In Node install the package `webgpu` and a Vulkan driver; `espalier doctor` says what is there.',
      );
    }
    // of what Dawn's device says of its adapter, the matrix units are missing
    return new GpuContext(await requestDevice(adapter), adapterFacts(adapter), true, adapter.info);
  }

  /** By whoever opened it. */
  use(user: GpuUser): void {
    this.#opening--;
    this.#users.add(user);
  }

  /** By whoever opened it, who is named if he used it. The last one closes it, unless somebody gave it to us. */
  release(user: GpuUser | null): void {
    if (user) this.#users.delete(user);
    else this.#opening--;
    if (!this.#isUnused || !this.#own || this.#closed) return;
    this.#closed = true;
    this.#pipelines.clear();
    this.device.destroy();
  }

  /** Of a product by tiles: with so many it pays to know which are fast. It never begins a program's first moments, when its own kernels are compiled. */
  countTileProduct(): void {
    if (++this.#tileProducts === TUNED_FROM) void this.tune?.();
  }

  /** Whether one device is left on it. */
  get alone(): boolean {
    return this.#users.size + this.#opening <= 1;
  }

  get #isUnused(): boolean {
    return this.#users.size + this.#opening === 0;
  }

  #end(message: string): void {
    if (this.lost) return;
    this.lost = new EspalierError('E_DEVICE_LOST', message, 'Close the device and open another.');
    for (const user of this.#users) user.lost(this.lost);
  }

  /** Compiled or being compiled. */
  pipeline(of: Kernel): Pipeline {
    let made = this.#pipelines.get(of.name);
    if (!made) {
      made = this.#compile(of);
      this.#pipelines.set(of.name, made);
    }
    return made;
  }

  #compile(of: Kernel): Pipeline {
    const { device } = this;
    const { code, ...frame } = framed(of.text(this.traits));
    const entries: GPUBindGroupLayoutEntry[] = frame.access.map((access, binding) => ({
      binding,
      visibility: COMPUTE_STAGE,
      buffer: { type: access === 'read' ? 'read-only-storage' : 'storage' },
    }));
    entries.push({
      binding: entries.length,
      visibility: COMPUTE_STAGE,
      buffer: { type: 'uniform', hasDynamicOffset: true },
    });
    const layout = device.createBindGroupLayout({ entries });
    device.pushErrorScope('validation'); // else it were told to all our devices, as if a command of theirs were wrong
    const module = device.createShaderModule({ label: of.name, code });
    const said = device.popErrorScope().catch(() => null);
    const compiled = device.createComputePipelineAsync({
      label: of.name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: 'main' },
    });
    const one: Pipeline = {
      ...frame,
      pipeline: null,
      refused: null,
      layout,
      ready: compiled.then(
        (pipeline) => {
          one.pipeline = pipeline;
        },
        async (reason: unknown) => {
          const cause = (await said) ?? reason;
          one.refused = new EspalierError(
            'E_DEVICE_UNSUPPORTED',
            `The GPU's compiler refuses the kernel "${of.name}".`,
            'Use device "wasm", and report this with what `espalier doctor` prints.',
            { cause },
          );
        },
      ),
    };
    return one;
  }
}

const COMPUTE_STAGE = 4;
/** Products by tiles behind which they are measured: some layers of a second prompt, a step or two of training. */
const TUNED_FROM = 256;

/** Of who gave us none; one a thread. */
let shared: Promise<GpuContext> | null = null;
const byDevice = new WeakMap<GPUDevice, GpuContext>();

/** Not among the types, and not in every host. */
function infoOf(device: GPUDevice): GPUAdapterInfo | undefined {
  return (device as { adapterInfo?: GPUAdapterInfo }).adapterInfo;
}

function factsOfDevice(device: GPUDevice): AdapterFacts {
  return adapterFacts({
    info: infoOf(device),
    features: device.features,
    limits: device.limits,
  } as unknown as GPUAdapter);
}

/** Of what WebGPU reports late. */
export function errorOf(error: GPUError): EspalierError {
  return error.constructor.name === 'GPUOutOfMemoryError' ? outOfMemory(error.message) : refusal(error.message, error);
}

export function refusal(message: string, cause: unknown): EspalierError {
  return new EspalierError(
    'E_DEVICE_UNSUPPORTED',
    `The GPU refuses a command: ${message}`,
    'Use device "wasm", and report this with what `espalier doctor` prints.',
    { cause },
  );
}

export function outOfMemory(message: string): EspalierError {
  return new EspalierError(
    'E_OUT_OF_MEMORY',
    message,
    'Free tensors, use a smaller model, a shorter context or smaller batches, or device "wasm".',
  );
}
