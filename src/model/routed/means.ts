/**
 * What means of some rows behind `n` others are made of, [count, count + (n > 0)]: of row i n / (n + i + 1) times the mean of those n, where there are some,
 * and 1 / (n + i + 1) times each row from the first of these to itself.
 */
export function meanShares(n: number, count: number): Float32Array<ArrayBuffer> {
  const behind = n > 0 ? 1 : 0;
  const columns = count + behind;
  const shares = new Float32Array(count * columns);
  for (let i = 0; i < count; i++) {
    if (behind) shares[i * columns] = n / (n + i + 1);
    shares.fill(1 / (n + i + 1), i * columns + behind, i * columns + behind + i + 1);
  }
  return shares;
}
