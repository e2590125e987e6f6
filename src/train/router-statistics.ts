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
  /** Mean Euclidean norm of a token's router logits. */
  readonly logitNorm: number;
  /**
   * 1 − mean cosine of what two experts gave for a token that chose both, over the first tokens: 0 for copies, 1 at right angles. Outputs do not
   * depend on the order of an expert's neurons, as weights do. Null where a token has one expert, or experts give nothing.
   */
  readonly diversity: number | null;
}

/** Tokens of a layer whose experts' outputs are compared. */
const COMPARED = 256;

/** Loads and sizes of a mixture's layers, over any number of passes: give `watch` as their `onMixture`. It costs a readback a layer. */
export class RouterStatistics {
  readonly #device: TrainDevice;
  readonly #config: Pick<ModelConfig, 'moe'>;
  readonly #reads: {
    readonly layer: number;
    readonly elements: number;
    readonly read: Promise<readonly ArrayLike<number>[]>;
  }[] = [];
  /** Of each layer the first pass alone: order of slots, and what the experts gave. */
  readonly #outputs = new Map<number, Promise<readonly ArrayLike<number>[]>>();

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
    this.#reads.push({ layer, elements: t * hidden, read: device.read([routing.offsets, ...squares, routing.logits]) });
    if (!this.#outputs.has(layer)) this.#outputs.set(layer, device.read([routing.order, y]));
    device.reset(mark);
  };

  /** Of all passes that were watched, every layer with experts, ascending. One that has seen no token has zeros. */
  async layers(): Promise<LayerRouting[]> {
    const load = new ExpertLoad(this.#config);
    const sums = new Map<number, Sums>();
    for (const { layer, elements, read } of this.#reads) {
      const [offsets, routed, shared, logits] = await read;
      const experts = offsets!.length - 1;
      const before = sums.get(layer) ?? NOTHING;
      sums.set(layer, {
        tokens: before.tokens + logits!.length / experts,
        norms: before.norms + normsOf(logits!, experts),
        elements: before.elements + elements,
        routed: before.routed + routed![0]!,
        shared: before.shared + shared![0]!,
      });
      load.add(
        layer,
        Array.from({ length: experts }, (_, e) => offsets![e + 1]! - offsets![e]!),
      );
    }
    const { sharedSize, topK } = this.#config.moe!;
    const diversities = new Map<number, number | null>();
    for (const [layer, outputs] of this.#outputs) {
      const [order, y] = await outputs;
      diversities.set(layer, diversityOf(order!, y!, topK));
    }
    return load.layers().map((own) => {
      const { tokens, norms, elements, routed, shared } = sums.get(own.layer) ?? NOTHING;
      const size = (squares: number): number => Math.sqrt(squares / Math.max(1, elements));
      return {
        ...own,
        routed: size(routed),
        shared: sharedSize > 0 ? size(shared) : null,
        logitNorm: norms / Math.max(1, tokens),
        diversity: diversities.get(own.layer) ?? null,
      };
    });
  }
}

/** Of all passes of a layer. */
interface Sums {
  readonly tokens: number;
  readonly norms: number;
  readonly elements: number;
  readonly routed: number;
  readonly shared: number;
}

const NOTHING: Sums = { tokens: 0, norms: 0, elements: 0, routed: 0, shared: 0 };

/** Sum of the norms of rows of so many numbers. */
function normsOf(rows: ArrayLike<number>, width: number): number {
  let sum = 0;
  for (let at = 0; at < rows.length; at += width) sum += norm(rows, at, width);
  return sum;
}

function norm(x: ArrayLike<number>, at: number, width: number): number {
  let squares = 0;
  for (let i = at; i < at + width; i++) squares += x[i]! ** 2;
  return Math.sqrt(squares);
}

/** Of the rows of y [T · k, d], which stand for the slots in `order`. */
function diversityOf(order: ArrayLike<number>, y: ArrayLike<number>, topK: number): number | null {
  const width = y.length / order.length;
  const rowOf = new Int32Array(order.length);
  for (let row = 0; row < order.length; row++) rowOf[order[row]!] = row;
  let [cosines, pairs] = [0, 0];
  for (let token = 0; token < Math.min(COMPARED, order.length / topK); token++) {
    for (let j = 1; j < topK; j++) {
      for (let i = 0; i < j; i++) {
        const [a, b] = [rowOf[token * topK + i]! * width, rowOf[token * topK + j]! * width];
        let product = 0;
        for (let c = 0; c < width; c++) product += y[a + c]! * y[b + c]!;
        const norms = norm(y, a, width) * norm(y, b, width);
        if (norms === 0) continue;
        cosines += product / norms;
        pairs++;
      }
    }
  }
  return pairs > 0 ? 1 - cosines / pairs : null;
}
