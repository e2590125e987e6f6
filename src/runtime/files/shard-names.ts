/** Files that make a set: a name, a number and how many there are. */
const SHARD = /^(.*)-(\d{5})-of-(\d{5})\.safetensors$/;
const MAX_SHARDS = 10_000;

/**
 * Names of all files of the one set of shards among some names, or of the set that one of them is of, whether they are there or not; null
 * where there is none, or several.
 */
export function shardNames(names: readonly string[], preferred: string | undefined): readonly string[] | null {
  const sets = new Set<string>();
  for (const name of names) {
    const [, stem, , count] = SHARD.exec(name) ?? [];
    if (stem === undefined) continue;
    sets.add(`${stem} ${count}`);
  }
  const of = SHARD.exec(preferred ?? '');
  const chosen = preferred === undefined ? [...sets] : of ? [`${of[1]} ${of[3]}`] : [];
  if (chosen.length !== 1) return null;
  const [stem, count] = [chosen[0]!.slice(0, -6), Number(chosen[0]!.slice(-5))];
  // a number that no honest name has must not make so many
  if (count < 1 || count > MAX_SHARDS) return null;
  return Array.from({ length: count }, (_, i) => {
    const number = String(i + 1).padStart(5, '0');
    return `${stem}-${number}-of-${String(count).padStart(5, '0')}.safetensors`;
  });
}
