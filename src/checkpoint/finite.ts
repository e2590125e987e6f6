export function allFinite(values: ArrayLike<number>): boolean {
  for (let i = 0; i < values.length; i++) {
    // NaN and infinity are the two that give NaN here
    if (values[i]! - values[i]! !== 0) return false;
  }
  return true;
}
