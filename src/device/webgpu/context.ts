/** A GPUDevice that several of ours share, with the pipelines that were compiled for it, and what is known of its end. */
import { EspalierError } from '../../errors.ts';
import { type AdapterFacts, adapterFacts, requestAdapter, requestDevice } from './adapter.ts';
import { type Framed, framed, type GpuTraits, type Kernel } from './kernel.ts';

/** A kernel as compiled. */
export interface Pipeline extends Omit<Framed, 'code'> {
  /** Null until it is compiled. */
  pipeline: GPUComputePipeline | null;
  readonly layout: GPUBindGroupLayout;
  /** Resolves when it is, or has failed: then the context has a failure. */
  readonly ready: Promise<void>;
}

export class GpuContext {
  readonly device: GPUDevice;
  readonly traits: GpuTraits;
  readonly facts: AdapterFacts;
  /** Most bytes of a binding. */
  readonly bindingLimit: number;
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #own: boolean;
  readonly #lost: ((error: EspalierError) => void)[] = [];
  #users = 0;
  /** Why nothing can be computed any more. */
  lost: EspalierError | null = null;
  /** What the GPU said of a command, until it is reported. */
  failure: EspalierError | null = null;

  private constructor(device: GPUDevice, facts: AdapterFacts, own: boolean) {
    this.device = device;
    this.facts = facts;
    this.#own = own;
    const { limits } = device;
    this.bindingLimit = limits.maxStorageBufferBindingSize - (limits.maxStorageBufferBindingSize % 256);
    const info = (device as { adapterInfo?: GPUAdapterInfo }).adapterInfo;
    const [least, most] = [info?.subgroupMinSize ?? 0, info?.subgroupMaxSize ?? 0];
    this.traits = {
      features: new Set([...device.features]),
      invocations: limits.maxComputeInvocationsPerWorkgroup,
      workgroupBytes: limits.maxComputeWorkgroupStorageSize,
      subgroupSize: least === most && device.features.has('subgroups') ? least : 0,
    };
    device.addEventListener('uncapturederror', (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      event.preventDefault();
      this.fail(errorOf(error));
    });
    void device.lost.then(({ reason, message }) => {
      if (reason === 'destroyed' && this.#users === 0) return;
      this.#end(`The GPU is gone (${reason}): ${message || 'nothing more is known'}.`);
    });
  }

  /** @throws E_DEVICE_UNSUPPORTED */
  static async open(given: GPUDevice | null): Promise<GpuContext> {
    if (given) {
      let of = byDevice.get(given);
      if (!of) {
        of = new GpuContext(given, factsOfDevice(given), false);
        byDevice.set(given, of);
      }
      of.#users++;
      return of;
    }
    shared ??= GpuContext.#make();
    const mine = shared;
    try {
      const context = await mine;
      if (context.lost) {
        if (shared === mine) shared = null;
        return await GpuContext.open(null);
      }
      context.#users++;
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
    return new GpuContext(await requestDevice(adapter), adapterFacts(adapter), true);
  }

  /** By whoever opened it. The last one closes it, unless somebody gave it to us. */
  release(): void {
    if (--this.#users > 0 || !this.#own) return;
    this.#pipelines.clear();
    void shared?.then((context) => {
      if (context === this) shared = null;
    });
    shared = null;
    this.device.destroy();
  }

  fail(error: EspalierError): void {
    this.failure ??= error;
  }

  /** Called once when it is lost, at once if it is. */
  onLost(callback: (error: EspalierError) => void): void {
    if (this.lost) callback(this.lost);
    else this.#lost.push(callback);
  }

  #end(message: string): void {
    if (this.lost) return;
    this.lost = new EspalierError('E_DEVICE_LOST', message, 'Close the device and open another.');
    for (const tell of this.#lost.splice(0)) tell(this.lost);
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
    const compiled = device.createComputePipelineAsync({
      label: of.name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module: device.createShaderModule({ label: of.name, code }), entryPoint: 'main' },
    });
    const one: Pipeline = {
      ...frame,
      pipeline: null,
      layout,
      ready: compiled.then(
        (pipeline) => {
          one.pipeline = pipeline;
        },
        (cause: unknown) => {
          if (this.lost) return;
          this.fail(
            new EspalierError(
              'E_DEVICE_UNSUPPORTED',
              `The GPU's compiler refuses the kernel "${of.name}".`,
              'Use device "wasm", and report this with what `espalier doctor` prints.',
              { cause },
            ),
          );
        },
      ),
    };
    return one;
  }
}

const COMPUTE_STAGE = 4;

/** Of who gave us none; one a thread. */
let shared: Promise<GpuContext> | null = null;
const byDevice = new WeakMap<GPUDevice, GpuContext>();

function factsOfDevice(device: GPUDevice): AdapterFacts {
  return adapterFacts({
    info: (device as { adapterInfo?: GPUAdapterInfo }).adapterInfo,
    features: device.features,
    limits: device.limits,
  } as unknown as GPUAdapter);
}

/** Of what WebGPU reports late. */
export function errorOf(error: GPUError): EspalierError {
  if (error.constructor.name === 'GPUOutOfMemoryError') return outOfMemory(error.message);
  return new EspalierError(
    'E_DEVICE_UNSUPPORTED',
    `The GPU refuses a command: ${error.message}`,
    'Use device "wasm", and report this with what `espalier doctor` prints.',
  );
}

export function outOfMemory(message: string): EspalierError {
  return new EspalierError(
    'E_OUT_OF_MEMORY',
    message,
    'Free tensors, use a smaller model, a shorter context or smaller batches, or device "wasm".',
  );
}
