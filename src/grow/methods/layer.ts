import { holdsNumbers } from '../../checkpoint/write/source-tensors.ts';
import { EspalierError, throwIfAborted } from '../../errors.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import { expertSizes } from '../plan/layer-choice.ts';
import { isCorrection } from '../plan/rules.ts';
import { type LayerRecord, type OutputType, PROJECTIONS, type Projection } from '../types.ts';
import { Measure } from '../verify/diversity.ts';
import { Baseline } from './baselines.ts';
import { Corrections } from './corrections.ts';
import { type LayerSource, type Maker, shapeOf } from './method.ts';
import { asBytes, routerRows } from './router-init.ts';

/** Bytes of a piece of rows. */
const PIECE = 1 << 20;
const BYTES: Readonly<Record<OutputType, number>> = { f32: 4, f16: 2, bf16: 2 };

export interface GrowLayerOptions extends LayerSource {
  /** Whether the layout divides the weights of a token's experts by their sum; for the measured size of the branch. Default true. */
  readonly renormalise?: boolean;
  /** Called with the share of the decomposition that is done, 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
}

/**
 * A layer that became a mixture, before it is written: what is made is made when it is asked for. Beside the device's scratch, W and one
 * slice of each placed projection are held (2 · 4 · d · m bytes), and the basis (4 · d²).
 */
export class GrownLayer {
  /** Routed experts, the dense one last where that is the anchor; and neurons of each. */
  readonly experts: number;
  readonly expertSize: number;
  readonly #options: GrowLayerOptions;
  readonly #maker: Maker;
  readonly #measure: Measure;
  readonly #router: Float32Array;
  /** Experts' projections that the measure has seen to the last row. */
  readonly #seen = new Set<string>();
  #disposed = false;

  constructor(options: GrowLayerOptions, maker: Maker, measure: Measure, router: Float32Array) {
    const { experts, expertSize } = expertSizes(options.plan, options.intermediate);
    this.experts = experts;
    this.expertSize = expertSize;
    this.#options = options;
    this.#maker = maker;
    this.#measure = measure;
    this.#router = router;
  }

  /** copy: the dense projection's own bytes. made: `rows`. */
  routed(expert: number, projection: Projection): { readonly kind: 'copy' | 'made' } {
    return { kind: this.#maker.copied(expert, projection) ? 'copy' : 'made' };
  }

  /** The dense projection times a power of two, or null where the anchor is another. */
  shared(projection: Projection): { readonly kind: 'copy'; readonly scale: number } | null {
    if (this.#options.plan.anchor !== 'shared') return null;
    return { kind: 'copy', scale: projection === 'down' ? this.#maker.sharedScale : 1 };
  }

  /**
   * Rows of a projection that is made, little-endian, in pieces of whole rows and about 1 MiB. Cheapest when experts are asked for in
   * their order, because groups share a slice.
   * @throws E_TENSOR_VALUE for numbers beyond the type; E_ABORTED, E_DISPOSED, E_OUT_OF_MEMORY
   */
  async *rows(expert: number, projection: Projection, type: OutputType): AsyncGenerator<Uint8Array, void, undefined> {
    const { device, hidden, signal } = this.#options;
    const [rows, columns] = shapeOf(projection, hidden, this.expertSize);
    const step = Math.min(rows, Math.max(1, Math.floor(PIECE / (columns * BYTES[type]))));
    this.#open();
    const piece = device.tensor(type, [step, columns]);
    const pace = new Pace();
    try {
      for (let first = 0; first < rows; first += step) {
        throwIfAborted(signal);
        const to = device.rows(piece, 0, Math.min(step, rows - first));
        await this.#maker.make(expert, projection, first, to);
        await this.#measure.take(expert, projection, first, to);
        const bytes = checked(await device.readBytes(to), type, `An expert's ${projection} projection`);
        if (first + step >= rows) {
          this.#seen.add(`${expert} ${projection}`);
          await this.#measure.combine(expert);
        }
        yield bytes;
        await pace.breathe();
        this.#open();
      }
    } finally {
      piece.dispose();
    }
  }

  /** Rows of the router [experts, hidden], little-endian. */
  async router(type: OutputType): Promise<Uint8Array> {
    this.#open();
    return checked(await asBytes(this.#options.device, this.#router, type), type, 'The router');
  }

  /**
   * What is known of the layer, with the diversity of the rows as they were written; rows that were not asked for are made, and not kept.
   * @param type of the output
   */
  async finish(type: OutputType): Promise<LayerRecord> {
    const list = Array.from({ length: this.experts }, (_, e) => e);
    for (const projection of PROJECTIONS) {
      const copies = list.filter((e) => this.#maker.copied(e, projection));
      for (const e of list) {
        if (copies.includes(e) || this.#seen.has(`${e} ${projection}`)) continue;
        for await (const _ of this.rows(e, projection, type));
      }
      await this.#measure.takeDense(copies, projection, await this.#options.read(projection));
    }
    const { layer } = this.#options;
    const measured = await this.#measure.finish(this.shared('down')?.scale ?? 0);
    return { layer, projections: this.#maker.records, ...measured };
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#maker.dispose();
    this.#measure.dispose();
  }

  #open(): void {
    if (this.#disposed) {
      throw new EspalierError('E_DISPOSED', 'This layer was disposed of.', 'Ask for its rows before `dispose()`.');
    }
  }
}

/**
 * Makes a layer's routed experts and router, by the plan's method. The result depends on plan, layer and weights alone: on a device of
 * `relaxed: false` it is the same bits in every runtime and for any number of lanes.
 *
 * @throws E_ARGUMENT where the layer has too few singular components, or its neurons do not divide; E_TENSOR_VALUE for NaN and infinity;
 *   E_OUT_OF_MEMORY, E_ABORTED. Nothing is left on the device then
 */
export async function growLayer(options: GrowLayerOptions): Promise<GrownLayer> {
  const { device, algebra, plan, layer, hidden, intermediate, onProgress } = options;
  throwIfAborted(options.signal);
  const { experts, expertSize } = expertSizes(plan, intermediate);
  const router = await routerRows(device, plan, layer, experts, hidden);
  const measure = await Measure.create({
    device,
    algebra,
    plan,
    layer,
    experts,
    hidden,
    intermediate,
    size: expertSize,
    router,
    renormalise: options.renormalise ?? true,
  });
  try {
    const maker = isCorrection(plan.method) ? await Corrections.create(options, onProgress) : new Baseline(options);
    return new GrownLayer(options, maker, measure, router);
  } catch (error) {
    measure.dispose();
    throw error;
  }
}

/** @throws E_TENSOR_VALUE for NaN and infinity: what is written must be read again */
function checked(bytes: Uint8Array, type: OutputType, what: string): Uint8Array {
  if (holdsNumbers(bytes, type)) return bytes;
  throw new EspalierError(
    'E_TENSOR_VALUE',
    `${what} has numbers beyond the range of ${type}.`,
    type === 'f16' ? 'Use bf16 or f32, or a smaller rho, noise or router.' : 'Use a smaller rho, noise or router.',
  );
}
