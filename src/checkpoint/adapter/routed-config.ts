import { EspalierError } from '../../errors.ts';
import { ALTER_CONFIG } from '../../runtime/hub/remote-files.ts';
import { ConfigKeys, shown } from '../config/keys.ts';
import { jsonObject, parseJson } from '../json.ts';
import { GATE_KINDS, type GateSpec } from './gate-kinds.ts';
import type { RoutingRule } from './routing.ts';

export const ALTER_FORMAT = 'espalier-alter';
export const ALTER_VERSION = 1;
/** Of names in the file, in characters. */
const LONGEST_NAME = 200;

/** An expert that makes a model forget, and the request that it came with; a request may have several. */
export interface RoutedExpert {
  readonly name: string;
  readonly request: string;
}

/** What alter.json says. */
export interface RoutedConfig {
  /** What it was trained on, as it was called there. */
  readonly base: string | null;
  /** Of each matrix. */
  readonly rank: number;
  /** What (x Aᵀ) Bᵀ is multiplied by. */
  readonly scale: number;
  /** In the order of their columns. */
  readonly experts: readonly RoutedExpert[];
  readonly gate: GateSpec;
  readonly rule: RoutingRule;
  /** Keys that nothing is made of. */
  readonly ignoredKeys: readonly string[];
}

/**
 * Reads alter.json: every key has to be there.
 * @param name of the folder, for messages
 * @throws E_CONFIG_INVALID; E_ADAPTER for a later version
 */
export function routedConfigFromJson(json: Uint8Array, name: string): RoutedConfig {
  const file = `${name}/${ALTER_CONFIG}`;
  const limits = { name: file, code: 'E_CONFIG_INVALID', maxDepth: 8, uniqueKeys: true } as const;
  const raw = jsonObject(parseJson(json, limits), limits);
  const keys = new ConfigKeys(raw, file);
  const format = keys.value('format');
  if (format !== ALTER_FORMAT) throw keys.fault('format', `is ${shown(format)}, not ${shown(ALTER_FORMAT)}`);
  const version = whole(keys, 'version', 1);
  if (version > ALTER_VERSION) {
    throw new EspalierError(
      'E_ADAPTER',
      `The adapter ${name} is of version ${version}; ${ALTER_VERSION} is the latest that is read here.`,
      'Use a later version of Espalier.',
    );
  }
  if (!keys.has('base')) throw keys.fault('base', 'is missing');
  const base = keys.value('base');
  if (base !== null && typeof base !== 'string') throw keys.fault('base', `is ${shown(base)}, not a name or null`);
  const rank = whole(keys, 'rank', 1);
  const scale = keys.need('scale', '');
  if (scale === 0 || !Number.isFinite(Math.fround(scale))) throw keys.fault('scale', `is ${scale}`);
  const config = {
    base: base ? base.slice(0, LONGEST_NAME) : null,
    rank,
    scale,
    experts: expertsOf(keys, file),
    gate: gateOf(inside(keys, 'gate')),
    rule: ruleOf(inside(keys, 'rule')),
  };
  return { ...config, ignoredKeys: keys.unread };
}

function whole(keys: ConfigKeys, key: string, least: number): number {
  const value = keys.need(key, '');
  if (!Number.isSafeInteger(value) || value < least)
    throw keys.fault(key, `is ${value}, not a whole number from ${least} on`);
  return value;
}

function inside(keys: ConfigKeys, key: string): ConfigKeys {
  const child = keys.child(key);
  if (!child) throw keys.fault(key, 'is missing');
  return child;
}

function expertsOf(keys: ConfigKeys, file: string): readonly RoutedExpert[] {
  const list = keys.value('experts');
  if (!Array.isArray(list) || list.length === 0) throw keys.fault('experts', 'names no experts');
  const experts = list.map((item: unknown, i): RoutedExpert => {
    const at = `experts[${i}]`;
    if (typeof item !== 'object' || item === null || Array.isArray(item)) {
      throw keys.fault(at, `is ${shown(item)}, not an object`);
    }
    const own = new ConfigKeys(item as Readonly<Record<string, unknown>>, file, `${at}.`);
    const text = (key: string): string => {
      const value = own.text(key, '');
      if (value === '' || value.length > LONGEST_NAME) {
        throw own.fault(key, value === '' ? 'is missing' : `is longer than ${LONGEST_NAME} characters`);
      }
      return value;
    };
    return { name: text('name'), request: text('request') };
  });
  const names = new Set<string>();
  for (const { name } of experts) {
    if (names.has(name)) throw keys.fault('experts', `has ${shown(name)} twice`);
    names.add(name);
  }
  return experts;
}

function choice<T extends string>(keys: ConfigKeys, key: string, choices: readonly T[]): T {
  return keys.choice<T | ''>(key, choices, '') as T;
}

function gateOf(keys: ConfigKeys): GateSpec {
  const kind = choice(keys, 'kind', GATE_KINDS);
  switch (kind) {
    case 'global':
      return { kind, hidden: whole(keys, 'hidden', 1), units: whole(keys, 'units', 1) };
    case 'hidden':
    case 'both':
      return { kind, hidden: whole(keys, 'hidden', 1) };
    case 'literal':
      return { kind };
    default:
      return kind satisfies never;
  }
}

function ruleOf(keys: ConfigKeys): RoutingRule {
  const positive = (key: string): number => {
    const value = keys.need(key, '');
    if (value <= 0) throw keys.fault(key, `is ${value}, not above 0`);
    return value;
  };
  const cut = keys.has('cut') && keys.value('cut') === null ? null : keys.need('cut', '');
  if (cut !== null && cut < 0) throw keys.fault('cut', `is ${cut}, and no entropy is below 0`);
  return {
    path: choice(keys, 'path', ['pn', 'tr']),
    cut,
    order: positive('order'),
    alignment: choice(keys, 'alignment', ['predictive', 'lagged']),
    temperature: positive('temperature'),
    most: whole(keys, 'most', 1),
    strength: keys.need('strength', ''),
  };
}
