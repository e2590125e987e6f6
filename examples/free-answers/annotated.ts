/** Utterances of HWU64 with their slots marked, as objects and as meanings in words. */

export interface Meaning {
  readonly text: string;
  readonly intent: string;
  /** Slots in their order, such as `['time', 'five am']`. */
  readonly slots: readonly (readonly [name: string, value: string])[];
}

const SLOT = /\[\s*([^:[\]]+?)\s*:\s*([^[\]]*?)\s*\]/g;

/** Rows of a file of HWU64 (`scenario`, `intent`, `text` and `annotated` among its columns). @throws where a column is not there */
export function meaningsOf(file: string): Meaning[] {
  const [head = '', ...rows] = file.split(/\r?\n/).filter((line) => line.trim() !== '');
  const names = head.split('\t');
  const [scenario, intent, text, annotated] = ['scenario', 'intent', 'text', 'annotated'].map((name) => {
    const at = names.indexOf(name);
    if (at < 0) throw new Error(`there is no column ${name}`);
    return at;
  }) as [number, number, number, number];
  return rows.map((row) => {
    const cells = row.split('\t').map((cell) => cell.trim());
    const slots = [...cells[annotated]!.matchAll(SLOT)].map(([, name, value]) => [name!, value!] as const);
    return { text: cells[text]!, intent: `${cells[scenario]}_${cells[intent]}`, slots };
  });
}

/** `{"intent":"alarm_set","time":"five am"}`; a slot that occurs several times has a list. */
export function asJson({ intent, slots }: Meaning): string {
  const object: [string, string | string[]][] = [['intent', intent]];
  for (const name of new Set(slots.map(([own]) => own))) {
    const values = slots.filter(([own]) => own === name).map(([, value]) => value);
    object.push([name, values.length === 1 ? values[0]! : values]);
  }
  return JSON.stringify(Object.fromEntries(object));
}

/** `intent[alarm set], time[five am]`, as in the E2E data. */
export function asWords({ intent, slots }: Meaning): string {
  const all = [['intent', intent] as const, ...slots];
  return all.map(([name, value]) => `${name.replaceAll('_', ' ')}[${value.replaceAll('_', ' ')}]`).join(', ');
}
