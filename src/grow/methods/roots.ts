/** Roots that are the same bits in every engine: they differ in the last one of Math.cbrt and of powers. */

/** By Newton's method, from above. @param x above 0 */
export function cubeRoot(x: number): number {
  let root = Math.max(1, x);
  for (let next = (2 * root + x / (root * root)) / 3; next < root; next = (2 * root + x / (root * root)) / 3)
    root = next;
  return root;
}
