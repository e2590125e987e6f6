/** A value as a message shows it: short, on one line, and without running code of the value's own (getters, `toString`). */
export function shown(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return quoted(value);
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value);
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'bigint':
      return `${String(value).slice(0, 40)}n`;
    case 'symbol':
      return 'a symbol';
    case 'function':
      return 'a function';
    case 'object':
      return value === null ? 'null' : kindOf(value);
  }
}

function quoted(text: string): string {
  const cut = text.length > 60 ? `${text.slice(0, 59)}…` : text;
  return JSON.stringify(cut);
}

function kindOf(value: object): string {
  try {
    if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
    const [, tag = 'Object'] = /^\[object (.{1,40})\]$/s.exec(Object.prototype.toString.call(value)) ?? [];
    if (tag === 'Object') return 'an object';
    return /^(?:Number|String|Boolean)$/.test(tag) ? `a ${tag} object` : `${/^[AEIO]/.test(tag) ? 'an' : 'a'} ${tag}`;
  } catch {
    return 'an object that cannot be looked at'; // a proxy that is revoked, or throws
  }
}
