/** Python's `strftime` in the C locale, whatever the host's language: a prompt must not depend on it. */
import { raise } from './values.ts';

const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

interface Part {
  /** A name, or a number with the width and the filler that it is padded to. */
  readonly value: string | number;
  readonly width?: number;
  readonly fill?: '0' | ' ';
}

const number = (value: number, width = 2, fill: '0' | ' ' = '0'): Part => ({ value, width, fill });

/** Days since the first of January, from 0. */
function dayOfYear(time: Date): number {
  const start = Date.UTC(time.getFullYear(), 0, 1);
  return Math.round((Date.UTC(time.getFullYear(), time.getMonth(), time.getDate()) - start) / 86_400_000);
}

/** ISO 8601's week and the year that it belongs to: that of its Thursday. */
function isoWeek(time: Date): { year: number; week: number } {
  const day = (time.getDay() + 6) % 7;
  const thursday = new Date(time.getFullYear(), time.getMonth(), time.getDate() - day + 3);
  return { year: thursday.getFullYear(), week: Math.floor(dayOfYear(thursday) / 7) + 1 };
}

const COMPOUND: Readonly<Record<string, string>> = {
  c: '%a %b %e %H:%M:%S %Y',
  D: '%m/%d/%y',
  F: '%Y-%m-%d',
  r: '%I:%M:%S %p',
  R: '%H:%M',
  T: '%H:%M:%S',
  x: '%m/%d/%y',
  X: '%H:%M:%S',
};

function part(time: Date, letter: string): Part | null {
  const hour12 = time.getHours() % 12 || 12;
  switch (letter) {
    case 'Y':
      return number(time.getFullYear(), 0);
    case 'y':
      return number(time.getFullYear() % 100);
    case 'C':
      return number(Math.floor(time.getFullYear() / 100));
    case 'm':
      return number(time.getMonth() + 1);
    case 'd':
      return number(time.getDate());
    case 'e':
      return number(time.getDate(), 2, ' ');
    case 'j':
      return number(dayOfYear(time) + 1, 3);
    case 'H':
      return number(time.getHours());
    case 'k':
      return number(time.getHours(), 2, ' ');
    case 'I':
      return number(hour12);
    case 'l':
      return number(hour12, 2, ' ');
    case 'M':
      return number(time.getMinutes());
    case 'S':
      return number(time.getSeconds());
    case 'u':
      return number(time.getDay() || 7, 1);
    case 'w':
      return number(time.getDay(), 1);
    case 'U':
      return number(Math.floor((dayOfYear(time) + 7 - time.getDay()) / 7));
    case 'W':
      return number(Math.floor((dayOfYear(time) + 7 - ((time.getDay() + 6) % 7)) / 7));
    case 'V':
      return number(isoWeek(time).week);
    case 'G':
      return number(isoWeek(time).year, 4);
    case 'g':
      return number(isoWeek(time).year % 100);
    case 'f':
      return number(time.getMilliseconds() * 1000, 6);
    case 'B':
      return { value: MONTHS[time.getMonth()]! };
    case 'b':
    case 'h':
      return { value: MONTHS[time.getMonth()]!.slice(0, 3) };
    case 'A':
      return { value: DAYS[time.getDay()]! };
    case 'a':
      return { value: DAYS[time.getDay()]!.slice(0, 3) };
    case 'p':
      return { value: time.getHours() < 12 ? 'AM' : 'PM' };
    case 'P':
      return { value: time.getHours() < 12 ? 'am' : 'pm' };
    case 'n':
      return { value: '\n' };
    case 't':
      return { value: '\t' };
    case '%':
      return { value: '%' };
    case 'z':
    case 'Z':
      // the moment that Python tells has no time zone
      return { value: '' };
    default:
      return null;
  }
}

/** @throws Unsupported for widths, and flags other than `-`, `_`, `0` and `^` */
export function formatTime(time: Date, format: string): string {
  return format.replace(/%([-_0^#]*)(\d*)([A-Za-z%]?)/g, (text, flags: string, width: string, letter: string) => {
    const compound = COMPOUND[letter];
    if (compound !== undefined && flags === '' && width === '') return formatTime(time, compound);
    const found = part(time, letter);
    if (
      found === null ||
      compound !== undefined ||
      flags.length > 1 ||
      width !== '' ||
      flags === '#' ||
      'sEO'.includes(letter || '-')
    ) {
      if (/^%[A-Za-z]?$/.test(text) && !['s', 'E', 'O'].includes(letter)) return text;
      return raise('Unsupported', `'${text}' in strftime is not computed`);
    }
    if (typeof found.value === 'string') return flags === '^' ? found.value.toUpperCase() : found.value;
    if (letter === 'f' && flags !== '') return raise('Unsupported', `'${text}' in strftime is not computed`);
    const fill = flags === '_' ? ' ' : flags === '0' ? '0' : found.fill!;
    return flags === '-' ? String(found.value) : String(found.value).padStart(found.width!, fill);
  });
}
