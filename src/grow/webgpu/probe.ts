import { PURPOSE, uniforms } from '../methods/noise.ts';
import type { Basis } from '../methods/spectrum.ts';

/** Probes of what was computed of a matrix W elsewhere, with a vector of random signs, in f64. What is no number, or above 1, is told as 1. */
export interface Probe {
  /** ||G y - W (W^T y)|| / ||W (W^T y)|| of the Gram matrix of the smaller side. */
  gramError(gram: Float64Array): number;
  /** Of a slice R, which is seen in pieces of whole rows: ||R x - (what the basis makes of W) x|| / ||W x||. */
  slice(basis: Basis, range: readonly [from: number, to: number]): SliceProbe;
}

export interface SliceProbe {
  see(first: number, rows: Float32Array): void;
  error(): number;
}

/** @param w [rows, columns] */
export function probeOf(w: Float32Array, rows: number, columns: number): Probe {
  const signs = (count: number): Float64Array =>
    uniforms(count, 0, [0, PURPOSE.probeOfGpu]).map((u) => (u < 0.5 ? -1 : 1));
  const wide = rows <= columns;
  const x = signs(columns);
  const wx = times(w, columns, x);

  return {
    gramError(gram) {
      const n = Math.min(rows, columns);
      const y = signs(n);
      const exact = wide ? times(w, columns, turned(w, columns, y)) : turned(w, columns, times(w, columns, y));
      return atMost1(distance(times(gram, n, y), exact) / lengthOf(exact));
    },

    slice({ own, other }, [from, to]) {
      const part = (vectors: Float32Array, width: number) => vectors.subarray(from * width, to * width);
      const [n, far] = wide ? [rows, columns] : [columns, rows];
      const basis = part(own, n);
      let exact: Float64Array;
      if (wide) exact = turned(basis, n, other ? times(part(other, far), far, x) : times(basis, n, wx));
      else {
        const within = times(basis, n, x);
        exact = other ? turned(part(other, far), far, within) : times(w, columns, turned(basis, n, within));
      }
      const got = new Float64Array(rows);
      return {
        see: (first, values) => got.set(times(values, columns, x), first),
        error: () => atMost1(distance(got, exact) / lengthOf(wx)),
      };
    },
  };
}

/** A v of A [rows, width]. */
function times(a: Float32Array | Float64Array, width: number, v: Float64Array): Float64Array {
  return Float64Array.from({ length: a.length / width }, (_, i) => {
    let sum = 0;
    const at = i * width;
    for (let j = 0; j < width; j++) sum += a[at + j]! * v[j]!;
    return sum;
  });
}

/** A^T v. */
function turned(a: Float32Array | Float64Array, width: number, v: Float64Array): Float64Array {
  const to = new Float64Array(width);
  for (let i = 0; i < v.length; i++) {
    const [at, factor] = [i * width, v[i]!];
    for (let j = 0; j < width; j++) to[j]! += a[at + j]! * factor;
  }
  return to;
}

const atMost1 = (x: number): number => (Number.isNaN(x) ? 1 : Math.min(x, 1));

function lengthOf(x: Float64Array): number {
  return Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
}

function distance(x: Float64Array, y: Float64Array): number {
  return lengthOf(x.map((v, i) => v - y[i]!));
}
