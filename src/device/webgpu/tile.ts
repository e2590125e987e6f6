/** A tile of a product, and how fast tiles are. */
export interface Tile {
  /** Rows and columns of c. */
  readonly m: number;
  readonly n: number;
  /** Of an invocation's block: 4 or 8 each. */
  readonly blockM: number;
  readonly blockN: number;
}

/** How fast tiles are on a GPU, which WebGPU does not tell. */
export interface TileRates {
  /** Of each how much of the rate of the fastest it reaches: an invocation with fewer sums reads more of a panel for each. */
  readonly rates: ReadonlyMap<Tile, number>;
  /** Workgroups of the largest tile that are computed at once. */
  readonly units: number;
}
