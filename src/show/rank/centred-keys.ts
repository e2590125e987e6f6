/**
 * What centred cosines need of a pool besides its keys: their mean, and each one's length without it, by layer. Made once, and again when
 * the keys are others.
 */
export class CentredKeys {
  readonly #keys: readonly (Float32Array | null)[];
  readonly #layers: number;
  readonly #mean: Float64Array;
  /** [keys, layers]: 1 / length. */
  readonly #scales: Float64Array;

  /** @param keys mean key of each shot, [layers · nKvHeads · headDim]; null: not known */
  constructor(keys: readonly (Float32Array | null)[], layers: number) {
    this.#keys = keys;
    this.#layers = layers;
    const known = keys.filter((key) => key !== null);
    const length = known[0]?.length ?? 0;
    const mean = new Float64Array(length);
    for (const key of known) for (let i = 0; i < length; i++) mean[i]! += key[i]! / known.length;
    const width = length / layers;
    this.#mean = mean;
    this.#scales = new Float64Array(keys.length * layers);
    for (const [n, key] of keys.entries()) {
      for (let layer = 0; key && layer < layers; layer++) {
        let squares = 0;
        for (let i = layer * width; i < (layer + 1) * width; i++) squares += (key[i]! - mean[i]!) ** 2;
        this.#scales[n * layers + layer] = squares > 0 ? 1 / Math.sqrt(squares) : 0;
      }
    }
  }

  /** Whether it was made of these very keys. */
  isOf(keys: readonly (Float32Array | null)[]): boolean {
    return keys.length === this.#keys.length && keys.every((key, i) => key === this.#keys[i]);
  }

  /**
   * Of a query's vector, from which its own centre was taken, and each key less the mean of all: cosine by layer, and its mean over layers.
   * -Infinity for keys that are not known.
   */
  cosines(vector: Float32Array): number[] {
    const layers = this.#layers;
    const width = vector.length / layers;
    // products with the mean are the same for all keys
    const offsets = new Float64Array(layers);
    const scales = new Float64Array(layers);
    for (let layer = 0; layer < layers; layer++) {
      let [product, squares] = [0, 0];
      for (let i = layer * width; i < (layer + 1) * width; i++) {
        product += vector[i]! * this.#mean[i]!;
        squares += vector[i]! ** 2;
      }
      offsets[layer] = product;
      scales[layer] = squares > 0 ? 1 / (Math.sqrt(squares) * layers) : 0;
    }
    return this.#keys.map((key, n) => {
      if (!key) return Number.NEGATIVE_INFINITY;
      let sum = 0;
      for (let layer = 0; layer < layers; layer++) {
        const product = dot(vector, key, layer * width, (layer + 1) * width) - offsets[layer]!;
        sum += product * scales[layer]! * this.#scales[n * layers + layer]!;
      }
      return sum;
    });
  }
}

/** Over a range; four sums beside each other, so that one addition need not wait for the last. */
function dot(a: Float32Array, b: Float32Array, first: number, end: number): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let i = first;
  for (; i + 4 <= end; i += 4) {
    s0 += a[i]! * b[i]!;
    s1 += a[i + 1]! * b[i + 1]!;
    s2 += a[i + 2]! * b[i + 2]!;
    s3 += a[i + 3]! * b[i + 3]!;
  }
  for (; i < end; i++) s0 += a[i]! * b[i]!;
  return s0 + s1 + s2 + s3;
}
