/** What a benchmark suite is to the command line. */
export interface Suite {
  /** One line for the list. */
  readonly about: string;
  run(context: Context): Promise<unknown>;
}

export interface Context {
  /** `--name value` and `--name` (true) from the command line. */
  readonly flags: Readonly<Record<string, string | true>>;
  /** Prints for people; silent under `--json`. */
  print(text: string): void;
}

/** A flag as a list of positive whole numbers. */
export function numbers(context: Context, name: string, fallback: readonly number[]): number[] {
  const text = context.flags[name];
  if (text === undefined) return [...fallback];
  const list = String(text).split(',').map(Number);
  if (text === true || list.some((n) => !Number.isInteger(n) || n < 1)) {
    throw new Error(`--${name} takes whole numbers above 0, separated by commas.`);
  }
  return list;
}
