import type { DataSource } from '../../datasets/source.ts';
import type { AdapterChoice } from '../../model/adapter-options.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';
import { wireAdapters, wireContent, wireTarget } from './parted-options.ts';
import type { WireTarget } from './port.ts';

/** What options hold of files, as it crosses: bytes are copied, once, unless they are given away. */
export class Crossing {
  /** Buffers that go with the options. */
  readonly moved: ArrayBuffer[] = [];
  readonly #give: boolean;

  /** @param give whether the caller gives his bytes away */
  constructor(give = false) {
    this.#give = give;
  }

  /** One file of data or several; a number, or what is not given, stays as it is. @throws E_OUT_OF_MEMORY */
  data<V>(value: V): V {
    const cross = (source: unknown): unknown => {
      if (source instanceof URL) return source.href;
      if (!(source instanceof Uint8Array)) return source;
      const bytes = wireContent(source, this.#give);
      this.moved.push(bytes.buffer);
      return bytes as DataSource;
    };
    return (Array.isArray(value) ? value.map(cross) : cross(value)) as V;
  }

  /** @throws E_ARGUMENT for what is no target, E_OUT_OF_MEMORY */
  model(given: ModelTarget): WireTarget {
    const { target, transfer } = wireTarget(given, this.#give);
    this.moved.push(...transfer);
    return target;
  }

  /** @throws E_ARGUMENT for what is no target, E_OUT_OF_MEMORY */
  adapters(choices: readonly AdapterChoice[]): readonly AdapterChoice[] {
    const { adapters, transfer } = wireAdapters(choices, this.#give);
    this.moved.push(...transfer);
    return adapters;
  }
}
