import type { ModelConfig } from '../checkpoint/types.ts';
import type { TrainDevice } from '../device/train-device.ts';
import { ExpertLoad, type LayerLoad } from '../model/expert-load.ts';
import type { MixtureBuffers } from '../model/experts.ts';

/** What the experts of one layer did for some tokens. */
export interface LayerRouting extends LayerLoad {
  /** Root mean square of the elements that routed experts gave together. */
  readonly routed: number;
  /** The same of the shared expert, behind its gate; null where there is none. */
  readonly shared: number | null;
}

/** Loads and sizes of a mixture's layers, over any number of passes: give `watch` as their `onMixture`. It costs a readback a layer. */
export class RouterStatistics {
  readonly #device: TrainDevice;
  readonly #config: Pick<ModelConfig, 'moe'>;
  readonly #reads: {
    readonly layer: number;
    readonly elements: number;
    readonly read: Promise<readonly ArrayLike<number>[]>;
  }[] = [];

  /** @throws E_ARGUMENT where the model has no experts */
  constructor(device: TrainDevice, config: Pick<ModelConfig, 'moe'>) {
    this.#device = device;
    this.#config = config;
    new ExpertLoad(config); // refuses
  }

  /** Bound, so that it can be handed over as it is. */
  readonly watch = (layer: number, { routing, y, sharedOut }: MixtureBuffers): void => {
    const device = this.#device;
    const mark = device.mark();
    const [t, hidden] = [routing.logits.shape[0]!, y.shape[1]!];
    const routed = device.scratch('f32', [t, hidden]);
    device.combine(y, routing.order, routing.weights, routed);
    const squares = [routed, sharedOut].map((of) => {
      const sum = device.scratch('f32', [1]);
      device.fill(sum, 0);
      if (of) device.sumSquares(of, sum);
      return sum;
    });
    this.#reads.push({ layer, elements: t * hidden, read: device.read([routing.offsets, ...squares]) });
    device.reset(mark);
  };

  /** Of all passes that were watched, every layer with experts, ascending. One that has seen no token has zeros. */
  async layers(): Promise<LayerRouting[]> {
    const load = new ExpertLoad(this.#config);
    const sums = new Map<number, { elements: number; routed: number; shared: number }>();
    for (const { layer, elements, read } of this.#reads) {
      const [offsets, routed, shared] = await read;
      const before = sums.get(layer) ?? { elements: 0, routed: 0, shared: 0 };
      sums.set(layer, {
        elements: before.elements + elements,
        routed: before.routed + routed![0]!,
        shared: before.shared + shared![0]!,
      });
      load.add(
        layer,
        Array.from({ length: offsets!.length - 1 }, (_, e) => offsets![e + 1]! - offsets![e]!),
      );
    }
    const hasShared = this.#config.moe!.sharedSize > 0;
    return load.layers().map((own) => {
      const { elements, routed, shared } = sums.get(own.layer) ?? { elements: 1, routed: 0, shared: 0 };
      const size = (squares: number): number => Math.sqrt(squares / elements);
      return { ...own, routed: size(routed), shared: hasShared ? size(shared) : null };
    });
  }
}
