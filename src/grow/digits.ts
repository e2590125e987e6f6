/** To four digits: runtimes differ in the last bits of exp and log, and receipts should not. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
