const MAP_READ = 1;
const USAGE = MAP_READ | 0x08; // and COPY_DST

/** Buffers that the host reads, used again: one a read that is under way. */
export class ReadBuffers {
  readonly #device: GPUDevice;
  readonly #idle: GPUBuffer[] = [];
  #closed = false;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  take(bytes: number): GPUBuffer {
    const i = this.#idle.findIndex(({ size }) => size >= bytes);
    if (i >= 0) return this.#idle.splice(i, 1)[0]!;
    this.#idle.pop()?.destroy(); // too small: it is replaced
    return this.#device.createBuffer({ size: Math.max(256, 2 ** Math.ceil(Math.log2(bytes))), usage: USAGE });
  }

  /** What `look` makes of the first bytes, which it may not keep. */
  async content<T>(buffer: GPUBuffer, bytes: number, look: (content: ArrayBuffer) => T): Promise<T> {
    if (bytes === 0) return look(new ArrayBuffer(0));
    await buffer.mapAsync(MAP_READ, 0, bytes);
    try {
      return look(buffer.getMappedRange(0, bytes));
    } finally {
      buffer.unmap();
    }
  }

  give(buffer: GPUBuffer): void {
    if (this.#closed || buffer.size > 2 ** 24) buffer.destroy();
    else this.#idle.push(buffer);
  }

  close(): void {
    this.#closed = true;
    for (const buffer of this.#idle.splice(0)) buffer.destroy();
  }
}
