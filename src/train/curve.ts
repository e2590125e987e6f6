/** A curve's points, and how many steps each is the mean of. */
export interface CurveData {
  readonly every: number;
  /** Point i is the mean over steps i · every .. (i + 1) · every - 1, from 0 on. */
  readonly points: readonly number[];
  /** Of the steps behind the last point: their sum, and how many they are. */
  readonly sum: number;
  readonly count: number;
}

/** Most points; then two become one. Even. */
const MOST = 1024;

/** The losses of all steps, in at most 1024 points however many steps there are.. */
export class Curve {
  #every: number;
  #points: number[];
  #sum: number;
  #count: number;

  constructor({ every, points, sum, count }: CurveData = { every: 1, points: [], sum: 0, count: 0 }) {
    this.#every = every;
    this.#points = [...points];
    this.#sum = sum;
    this.#count = count;
  }

  add(value: number): void {
    this.#sum += value;
    if (++this.#count < this.#every) return;
    this.#points.push(this.#sum / this.#count);
    this.#sum = 0;
    this.#count = 0;
    if (this.#points.length < MOST) return;
    const all = this.#points;
    this.#points = Array.from({ length: MOST / 2 }, (_, i) => (all[2 * i]! + all[2 * i + 1]!) / 2);
    this.#every *= 2;
  }

  data(): CurveData {
    return { every: this.#every, points: [...this.#points], sum: this.#sum, count: this.#count };
  }
}
