/** Decimal forms of doubles, as Python writes and rounds them: from the exact value, ties to even. */

/** A finite double without its sign: `mantissa * 2**exponent`. */
function binary(value: number): { mantissa: bigint; exponent: number } {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0) & 0x7fff_ffff_ffff_ffffn;
  const raw = Number(bits >> 52n);
  const fraction = bits & 0xf_ffff_ffff_ffffn;
  return raw === 0
    ? { mantissa: fraction, exponent: -1074 }
    : { mantissa: fraction | (1n << 52n), exponent: raw - 1075 };
}

/** |value| * 10**places as an integer, ties to even. */
function scaled(value: number, places: number): bigint {
  const { mantissa, exponent } = binary(value);
  let numerator = mantissa;
  let denominator = 1n;
  if (exponent >= 0) numerator <<= BigInt(exponent);
  else denominator <<= BigInt(-exponent);
  if (places >= 0) numerator *= 10n ** BigInt(places);
  else denominator *= 10n ** BigInt(-places);
  const quotient = numerator / denominator;
  const twice = 2n * (numerator - quotient * denominator);
  return twice > denominator || (twice === denominator && (quotient & 1n) === 1n) ? quotient + 1n : quotient;
}

/** `%.Nf` of a finite double without its sign. */
export function fixed(value: number, places: number): string {
  const digits = scaled(value, places)
    .toString()
    .padStart(places + 1, '0');
  return places === 0 ? digits : `${digits.slice(0, -places)}.${digits.slice(-places)}`;
}

/** The first digits of a finite double, rounded, and the decimal exponent of the first one. */
function significant(value: number, digits: number): { text: string; exponent: number } {
  if (value === 0) return { text: '0'.repeat(digits), exponent: 0 };
  let exponent = Math.floor(Math.log10(Math.abs(value)));
  for (;;) {
    const text = scaled(value, digits - 1 - exponent).toString();
    if (text.length === digits) return { text, exponent };
    // the logarithm was off by one, or rounding made a digit more
    exponent += text.length > digits ? 1 : -1;
  }
}

const power = (exponent: number) => `e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;

/** `%.Ne` of a finite double without its sign. */
export function exponential(value: number, places: number): string {
  const { text, exponent } = significant(value, places + 1);
  return `${text[0]}${places > 0 ? `.${text.slice(1)}` : ''}${power(exponent)}`;
}

/** `%.Ng` of a finite double without its sign. */
export function general(value: number, precision: number, keepZeros = false): string {
  const digits = precision === 0 ? 1 : precision;
  const { text, exponent } = significant(value, digits);
  const trimmed = keepZeros ? text : text.replace(/0+$/, '') || '0';
  if (exponent < -4 || exponent >= digits) {
    return `${trimmed[0]}${trimmed.length > 1 || keepZeros ? `.${trimmed.slice(1)}` : ''}${power(exponent)}`;
  }
  return placed(trimmed, exponent, keepZeros);
}

/** Digits with their decimal point after the place of `exponent`. */
function placed(digits: string, exponent: number, keepPoint = false): string {
  if (exponent < 0) return `0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  const rest = digits.slice(exponent + 1);
  return rest === '' && !keepPoint ? whole : `${whole}.${rest}`;
}

/** Python's `repr`: the shortest digits that read back as the same double. */
export function floatRepr(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const [mantissa, exponentText] = Math.abs(value).toExponential().split('e') as [string, string];
  const digits = mantissa.replace('.', '');
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 16) {
    return `${sign}${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : ''}${power(exponent)}`;
  }
  const text = placed(digits, exponent);
  return sign + (text.includes('.') ? text : `${text}.0`);
}

/** Python's `round(value, places)` of a double. */
export function roundFloat(value: number, places: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  if (places > 323) return value;
  if (places < -309) return value < 0 ? -0 : 0;
  const magnitude = Number(`${scaled(value, places)}e${-places}`);
  return value < 0 ? -magnitude : magnitude;
}
