import type { EspalierError } from '../../errors.ts';
import { configInvalid } from './faults.ts';

type Raw = Readonly<Record<string, unknown>>;

/**
 * The keys of one JSON object of a configuration, by type. It remembers which were asked for: what nobody asks for is ignored by the
 * architecture at hand, whatever stands there. Absent and null differ, as they do in transformers: absent is the default, and null only
 * what the class declares it to be.
 */
export class ConfigKeys {
  readonly #raw: Raw;
  readonly #file: string;
  readonly #prefix: string;
  readonly #asked = new Set<string>();
  readonly #children: ConfigKeys[] = [];
  /** Tells the objects that these keys were put together from what is asked for. */
  #tell: (key: string) => void = () => {};

  /** @param prefix of keys in messages, for an object inside another */
  constructor(raw: Raw, file: string, prefix = '') {
    this.#raw = raw;
    this.#file = file;
    this.#prefix = prefix;
  }

  /** Names that nobody has asked for, those in objects inside with the object's name before them. */
  get unread(): string[] {
    const own = Object.keys(this.#raw).filter((key) => !this.#asked.has(key));
    return [...own.map((key) => this.#prefix + key), ...this.#children.flatMap((child) => child.unread)];
  }

  /** The keys of an object inside; null where it is absent or null. @throws E_CONFIG_INVALID */
  child(key: string): ConfigKeys | null {
    const value = this.value(key);
    if (value === undefined || value === null) return null;
    if (typeof value !== 'object' || Array.isArray(value)) throw this.fault(key, `is ${shown(value)}, not an object`);
    const child = new ConfigKeys(value as Raw, this.#file, `${this.#prefix}${key}.`);
    this.#children.push(child);
    return child;
  }

  /** These keys before those of another object, which stand where these say nothing. */
  over(other: ConfigKeys | null): ConfigKeys {
    if (!other) return this;
    const both = new ConfigKeys({ ...other.#raw, ...this.#raw }, this.#file, this.#prefix);
    both.#tell = (key) => void (this.has(key) || other.has(key));
    return both;
  }

  /** One of these keys alone. */
  only(name: string): ConfigKeys {
    const one = new ConfigKeys(
      Object.hasOwn(this.#raw, name) ? { [name]: this.#raw[name] } : {},
      this.#file,
      this.#prefix,
    );
    one.#tell = (key) => void (key === name && this.has(key));
    return one;
  }

  /** These keys with other values for some, which are not asked for here then. */
  but(others: Raw): ConfigKeys {
    const both = new ConfigKeys({ ...this.#raw, ...others }, this.#file, this.#prefix);
    both.#tell = (key) => void (Object.hasOwn(others, key) || this.has(key));
    return both;
  }

  get isEmpty(): boolean {
    return Object.keys(this.#raw).length === 0;
  }

  /** Takes back that a key was asked for. */
  ignore(key: string): void {
    this.#asked.delete(key);
    for (let i = this.#children.length - 1; i >= 0; i--) {
      if (this.#children[i]!.#prefix === `${this.#prefix}${key}.`) this.#children.splice(i, 1);
    }
  }

  /** Whether a key is there, null or not. */
  has(key: string): boolean {
    this.#asked.add(key);
    this.#tell(key);
    return Object.hasOwn(this.#raw, key);
  }

  /** What stands there, unchecked; undefined where nothing does. */
  value(key: string): unknown {
    return this.has(key) ? this.#raw[key] : undefined;
  }

  /** A whole number, or the fallback where the key is absent. @throws E_CONFIG_INVALID, for null too */
  whole(key: string, fallback: number): number {
    return this.has(key) ? this.#whole(key) : fallback;
  }

  /** A whole number or null, or the fallback where the key is absent. @throws E_CONFIG_INVALID */
  wholeOrNull<T extends number | null>(key: string, fallback: T): number | null {
    if (!this.has(key)) return fallback;
    return this.#raw[key] === null ? null : this.#whole(key);
  }

  /** A number, or the fallback where the key is absent. @throws E_CONFIG_INVALID, for null too */
  number(key: string, fallback: number): number {
    return this.has(key) ? this.#number(key) : fallback;
  }

  /** A number, or undefined where the key is absent or null. @throws E_CONFIG_INVALID */
  optional(key: string): number | undefined {
    const value = this.value(key);
    return value === undefined || value === null ? undefined : this.#number(key);
  }

  /** A number that must be there. @throws E_CONFIG_INVALID */
  need(key: string, why: string): number {
    if (!this.has(key)) throw this.fault(key, `is missing${why}`);
    return this.#number(key);
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.value(key);
    if (value === undefined) return fallback;
    if (typeof value !== 'boolean') throw this.fault(key, `is ${shown(value)}, not true or false`);
    return value;
  }

  text(key: string, fallback: string): string {
    const value = this.value(key);
    if (value === undefined) return fallback;
    if (typeof value !== 'string') throw this.fault(key, `is ${shown(value)}, not a text`);
    return value;
  }

  /** One of some texts. @throws E_CONFIG_INVALID */
  choice<T extends string>(key: string, choices: readonly T[], fallback: T): T {
    const text = this.text(key, fallback);
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw this.fault(key, `is ${shown(text)}, not one of ${choices.join(', ')}`);
    return found;
  }

  /** A list of whole numbers; null where the key is absent or null. @throws E_CONFIG_INVALID */
  wholes(key: string): readonly number[] | null {
    const value = this.value(key);
    if (value === undefined || value === null) return null;
    if (!Array.isArray(value)) throw this.fault(key, `is ${shown(value)}, not a list of whole numbers`);
    for (const item of value) {
      if (!Number.isInteger(item)) throw this.fault(key, `holds ${shown(item)}, not a whole number`);
    }
    return value;
  }

  /** Token ids: none, one or several. @throws E_CONFIG_INVALID */
  ids(key: string, fallback: readonly number[]): readonly number[] {
    if (!this.has(key)) return fallback;
    const value = this.#raw[key];
    if (value === null) return [];
    return Array.isArray(value) ? this.wholes(key)! : [this.#whole(key)];
  }

  fault(key: string, what: string): EspalierError {
    return configInvalid(this.#file, `${this.#prefix}${key} ${what}`);
  }

  #whole(key: string): number {
    const value = this.#number(key);
    if (!Number.isInteger(value)) throw this.fault(key, `is ${shown(value)}, not a whole number`);
    return value;
  }

  #number(key: string): number {
    const value = this.#raw[key];
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.fault(key, `is ${shown(value)}, not a number`);
    return value;
  }
}

/** A value for a message: short, whatever it is. */
export function shown(value: unknown): string {
  if (typeof value === 'number') return Number.isNaN(value) ? 'NaN (not a number)' : String(value);
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 100));
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
