/** Python's arithmetic: integers without bound (as far as a budget goes), floats, and what mixes them. */
import type { Budget } from './budget.ts';
import { Float, isInteger, isNumber, raise, type Value } from './values.ts';

/** Python writes and reads no longer integers as text. */
export const MOST_DIGITS = 4300;
/** Bits of an integer beyond which it is refused. */
const MOST_BITS = 1 << 16;

export type Numeric = number | bigint | boolean | Float;
export type Operator = '+' | '-' | '*' | '/' | '//' | '%' | '**';

/** An integer in its one form. */
export function integer(value: bigint): number | bigint {
  return value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value;
}

export function asBig(value: number | bigint | boolean): bigint {
  return BigInt(value);
}

/** As a double. @throws OverflowError for an integer that is none */
export function asDouble(value: Numeric): number {
  if (value instanceof Float) return value.value;
  const double = Number(value);
  if (!Number.isFinite(double)) raise('OverflowError', 'int too large to convert to float');
  return double;
}

export function integerText(value: number | bigint): string {
  const text = String(value);
  if (text.length > MOST_DIGITS) raise('ValueError', `an integer of more than ${MOST_DIGITS} digits cannot be written`);
  return text;
}

export function arithmetic(work: Budget, operator: Operator, left: Numeric, right: Numeric): Value {
  if (isInteger(left) && isInteger(right)) return integers(work, operator, left, right);
  return floats(operator, asDouble(left), asDouble(right));
}

function integers(
  work: Budget,
  operator: Operator,
  left: number | bigint | boolean,
  right: number | bigint | boolean,
): Value {
  if (typeof left !== 'bigint' && typeof right !== 'bigint') {
    const fast = small(operator, Number(left), Number(right));
    if (fast !== null) return fast;
  }
  const a = asBig(left);
  const b = asBig(right);
  if (b === 0n && (operator === '/' || operator === '//' || operator === '%')) divisionByZero();
  work.step(1 + (bits(a) * bits(b)) / 65536);
  switch (operator) {
    case '+':
      return bounded(a + b);
    case '-':
      return bounded(a - b);
    case '*':
      if (bits(a) + bits(b) > MOST_BITS) tooLarge();
      return integer(a * b);
    case '/':
      return new Float(quotient(a, b));
    case '//':
      return integer(floorDivide(a, b));
    case '%':
      return integer(a - b * floorDivide(a, b));
    case '**':
      if (b < 0n) return floats('**', asDouble(left), asDouble(right));
      if (a !== 0n && a !== 1n && a !== -1n && b * BigInt(bits(a)) > BigInt(MOST_BITS)) tooLarge();
      work.step(1 + bits(a) * Number(a === 0n || a === 1n || a === -1n ? 1n : b));
      return integer(a ** b);
    default:
      return operator satisfies never;
  }
}

/** `a / b`, rounded once: some 64 bits of the quotient, the last of which says whether anything is left. */
function quotient(a: bigint, b: bigint): number {
  const [n, d] = [a < 0n ? -a : a, b < 0n ? -b : b];
  const shift = 72 + bits(d) - bits(n);
  if (Math.abs(shift) > 900) raise('Unsupported', 'this quotient of large integers is not computed');
  const numerator = shift > 0 ? n << BigInt(shift) : n;
  const denominator = shift > 0 ? d : d << BigInt(-shift);
  const whole = numerator / denominator;
  const sticky = whole * denominator === numerator ? whole : whole | 1n;
  const value = Number(sticky) * 2 ** -shift;
  return a < 0n === b < 0n ? value : -value;
}

/** Exact results within the integers that doubles hold, or null. */
function small(operator: Operator, a: number, b: number): Value {
  const kept = (value: number) => (Number.isSafeInteger(value) ? value + 0 : null);
  switch (operator) {
    case '+':
      return kept(a + b);
    case '-':
      return kept(a - b);
    case '*':
      return kept(a * b);
    case '/':
      return b === 0 ? divisionByZero() : new Float(a / b);
    case '//':
      return b === 0 ? divisionByZero() : Number.isSafeInteger(a - modulo(a, b)) ? kept((a - modulo(a, b)) / b) : null;
    case '%':
      return b === 0 ? divisionByZero() : modulo(a, b);
    case '**':
      return null;
    default:
      return operator satisfies never;
  }
}

/** With the sign of the divisor. */
function modulo(a: number, b: number): number {
  const rest = a % b;
  return (rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest) + 0;
}

const bits = (value: bigint) => (value < 0n ? -value : value).toString(16).length * 4;

function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return quotient * b !== a && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

function bounded(value: bigint): number | bigint {
  if (bits(value) > MOST_BITS) tooLarge();
  return integer(value);
}

function tooLarge(): never {
  raise('Unsupported', `integers of more than ${MOST_BITS} bits are not computed`);
}

function divisionByZero(): never {
  raise('ZeroDivisionError', 'division by zero');
}

function floats(operator: Operator, a: number, b: number): Float {
  switch (operator) {
    case '+':
      return new Float(a + b);
    case '-':
      return new Float(a - b);
    case '*':
      return new Float(a * b);
    case '/':
      return b === 0 ? divisionByZero() : new Float(a / b);
    case '//':
      return new Float(floatDivide(a, b).quotient);
    case '%':
      return new Float(floatDivide(a, b).rest);
    case '**':
      return new Float(floatPower(a, b));
    default:
      return operator satisfies never;
  }
}

/** As CPython's float_divmod. */
function floatDivide(a: number, b: number): { quotient: number; rest: number } {
  if (b === 0) divisionByZero();
  let rest = a % b;
  let quotient = (a - rest) / b;
  if (rest !== 0) {
    if (b < 0 !== rest < 0) {
      rest += b;
      quotient -= 1;
    }
  } else rest = b < 0 ? -0 : 0;
  if (quotient !== 0) {
    const floor = Math.floor(quotient);
    quotient = quotient - floor > 0.5 ? floor + 1 : floor;
  } else quotient = a / b < 0 ? -0 : 0;
  return { quotient, rest };
}

/** Powers whose last bit does not depend on the C library, which computes them to little more than half a unit in the last place. */
function floatPower(a: number, b: number): number {
  if (b === 0 || a === 1) return 1;
  if (a === 0 && b < 0) divisionByZero();
  if (b === 1) return a;
  if (a === 0 && (b === 2 || b === 0.5)) return 0; // of -0 too
  const result = Math.abs(a) > SMALLEST && Math.abs(a) < LARGEST ? roundedPower(a, b) : Number.NaN;
  return Number.isNaN(result) ? raise('Unsupported', 'this power of floats is not computed') : result;
}

/** Factors between these have products whose errors are doubles. */
const SMALLEST = 1e-140;
const LARGEST = 1e140;

/** NaN where it is not known which double is the nearest, or which the C library gives. */
function roundedPower(a: number, b: number): number {
  if (b === 2) return unlessMiddle(a * a, productError(a, a));
  if (b === -1) return reciprocal(a);
  if (b === 0.5 && a >= 0) {
    const root = Math.sqrt(a);
    return unlessMiddle(root, (a - root * root - productError(root, root)) / (2 * root));
  }
  const exact = Number.isInteger(a) && Number.isInteger(b) ? a ** Math.abs(b) : Number.NaN;
  if (!Number.isSafeInteger(exact)) return Number.NaN;
  return b > 0 ? exact : reciprocal(exact);
}

function reciprocal(a: number): number {
  const result = 1 / a;
  return unlessMiddle(result, (1 - result * a - productError(result, a)) / a);
}

/** A rounded number, given what it lacks, unless that is so near to the middle of two doubles that libraries differ. */
function unlessMiddle(rounded: number, error: number): number {
  const bits = new BigInt64Array(1);
  const number = new Float64Array(bits.buffer);
  number[0] = rounded;
  bits[0]! -= 1n;
  return Math.abs(error) < 0.48 * Math.abs(rounded - number[0]!) ? rounded : Number.NaN;
}

/** a b - fl(a b), exactly (Dekker). */
function productError(a: number, b: number): number {
  const [a1, a2] = halves(a);
  const [b1, b2] = halves(b);
  return a1 * b1 - a * b + a1 * b2 + a2 * b1 + a2 * b2;
}

function halves(a: number): [number, number] {
  const scaled = a * (2 ** 27 + 1);
  const upper = scaled - (scaled - a);
  return [upper, a - upper];
}

/** -1, 0 or 1; NaN where one is. */
export function compareNumbers(left: Numeric, right: Numeric): number {
  if (isInteger(left) && isInteger(right)) return left < right ? -1 : left > right ? 1 : 0;
  const a = left instanceof Float ? left.value : left;
  const b = right instanceof Float ? right.value : right;
  if (Number.isNaN(a as number) || Number.isNaN(b as number)) return Number.NaN;
  // JavaScript compares doubles and bigints exactly
  return a < b ? -1 : a > b ? 1 : 0;
}

export function negate(work: Budget, value: Value): Value {
  if (value instanceof Float) return new Float(-value.value);
  if (isInteger(value)) return integers(work, '-', 0, value);
  return raise('TypeError', `bad operand type for unary -`);
}

export function positive(value: Value): Value {
  if (typeof value === 'boolean') return Number(value);
  if (isNumber(value)) return value;
  return raise('TypeError', 'bad operand type for unary +');
}

/** An argument that Python takes as an index or a count. @throws TypeError for anything but an integer */
export function indexOf(value: Value): number {
  if (!isInteger(value)) raise('TypeError', 'an integer is needed');
  if (typeof value === 'bigint') return value < 0n ? -Number.MAX_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
  return Number(value);
}
