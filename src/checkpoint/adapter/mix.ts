/** Several matrices B over one A, at constant coefficients: one matrix B. */
import { EspalierError } from '../../errors.ts';

/** Σ c_i B_i, summed in f64. */
export function mixed(bs: readonly Float32Array[], coefficients: readonly number[]): Float32Array {
  return bs[0]!.map((_, at) => bs.reduce((sum, b, i) => sum + coefficients[i]! * b[at]!, 0));
}

/** @throws E_ARGUMENT for other than one finite number an expert */
export function checkCoefficients(coefficients: readonly number[], experts: number): void {
  if (coefficients.length === experts && coefficients.every(Number.isFinite)) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `There are ${coefficients.length} coefficients for ${experts === 1 ? 'one expert' : `${experts} experts`}, or some are no numbers.`,
    'Give a finite number for each expert.',
  );
}
