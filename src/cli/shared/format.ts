import { stderr } from 'node:process';
import { visibleName } from '../../model/text/visible.ts';
import type { ProgressTarget } from './io.ts';

/** `1536` → `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  // 1023.95 would be written 1024.0
  while (Math.abs(value) >= 1023.95 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** What a job would take, of what there is; null: nobody knows. */
export function memoryLine(total: number, limit: number | null): string {
  const of = limit === null ? '' : `, of ${formatBytes(limit)}${total > limit ? ': too much' : ''}`;
  return `${formatBytes(total)} on the device${of}`;
}

/** `0.0042` → `4.2 ms`, `75` → `1 min 15 s`, `7260` → `2 h 1 min`. Takes seconds. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '–';
  if (seconds < 0.9995) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `134515008` → `134.5 M`; counts of parameters and tokens. */
export function formatCount(count: number): string {
  for (const [size, suffix] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const) {
    if (Math.abs(count) >= size * 0.99995) return `${(count / size).toFixed(1)} ${suffix}`;
  }
  return String(count);
}

/** `1, 'example'` → `1 example`, `0, 'example'` → `0 examples`. @param shown the number as it is to be written */
export function counted(count: number, one: string, shown: string = String(count)): string {
  return `${shown} ${one}${count === 1 ? '' : 's'}`;
}

/**
 * Rows in aligned columns, two spaces apart. Columns in which every cell below the head is a number stand to the right.
 *
 * @param head column titles, or null
 */
export function formatTable(head: readonly string[] | null, rows: readonly (readonly (string | number)[])[]): string {
  // what files call something does not move the cursor
  const lines = [...(head === null ? [] : [head]), ...rows].map((row) => row.map((cell) => visibleName(String(cell))));
  const columns = Math.max(0, ...lines.map((line) => line.length));
  const widths = Array.from({ length: columns }, (_, c) =>
    Math.max(...lines.map((line) => displayWidth(line[c] ?? ''))),
  );
  const numeric = widths.map((_, c) => rows.length > 0 && rows.every((row) => typeof row[c] === 'number'));
  return lines
    .map((line) =>
      widths
        .map((width, c) => {
          const cell = line[c] ?? '';
          const space = ' '.repeat(width - displayWidth(cell));
          return numeric[c] ? space + cell : cell + space;
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** What is said beside a result; it may have names out of files. */
export const noteLine = (note: string): string => `note: ${visibleName(note)}\n`;

/** Columns that a text takes in a terminal: combining marks none, East Asian wide characters and emoji two. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const char of text) {
    if (/^[\p{Mn}\p{Me}\p{Cf}]$/u.test(char)) continue;
    width +=
      /^[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]$/u.test(
        char,
      )
        ? 2
        : 1;
  }
  return width;
}

export interface ProgressOptions {
  /** What goes on, before the bar. */
  readonly label: string;
  /** Steps in all; null when unknown: then a count is shown instead of a bar. */
  readonly total: number | null;
  /** Silences the line, as `--json` does. */
  readonly silent?: boolean;
  readonly target?: ProgressTarget;
  /** Milliseconds, for tests. */
  readonly clock?: () => number;
}

/**
 * One line of progress on stderr that rewrites itself at most ten times a second. It writes nothing when stderr is no
 * terminal or the line is silenced, so that logs and pipes stay clean.
 */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #target: ProgressTarget;
  readonly #clock: () => number;
  readonly #visible: boolean;
  #start: number;
  /** What was done at `#start`, and at the last update. */
  #base = 0;
  #last = -1;
  #drawn = Number.NEGATIVE_INFINITY;
  #ended = false;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#target = options.target ?? stderr;
    this.#clock = options.clock ?? (() => performance.now());
    this.#visible = this.#target.isTTY === true && options.silent !== true;
    this.#start = this.#clock();
  }

  /** Shows that `done` steps are behind us, with a note after the bar. */
  update(done: number, note = ''): void {
    if (!this.#visible || this.#ended) return;
    const now = this.#clock();
    // time before the first update is of other work; and where the share falls, more has become known of the whole
    const part = this.#options.total ? done / this.#options.total : 0;
    if (this.#last < 0 || part < this.#last) [this.#start, this.#base] = [now, part];
    this.#last = part;
    if (now - this.#drawn < 100 && done !== this.#options.total) return;
    this.#drawn = now;
    this.#target.write(`\r\u001b[2K${this.#line(done, (now - this.#start) / 1000, note)}`);
  }

  /** Takes the line away until the next update, so that another one can be printed. */
  clear(): void {
    if (this.#visible && !this.#ended) this.#target.write('\r\u001b[2K');
    this.#drawn = Number.NEGATIVE_INFINITY;
  }

  /** Removes the line, so that what is printed next stands alone. */
  end(): void {
    this.clear();
    this.#ended = true;
  }

  /** A line that fits: one that wraps could not be rewritten. Where columns are few, what matters least is left out first. */
  #line(done: number, seconds: number, note: string): string {
    const { label, total } = this.#options;
    // some terminals say that they have no columns
    const width = (this.#target.columns || 80) - 1;
    const tail = note === '' ? '' : `  ${note}`;
    if (total === null || total <= 0) return fitting(width, [`${label}  ${done}${tail}`, `${label}  ${done}`]);
    const part = Math.min(1, Math.max(0, done / total));
    const percent = `${Math.floor(part * 100)} %`;
    const gone = part - this.#base;
    const left = gone > 0 && part < 1 && seconds > 1 ? `  ${formatDuration((seconds / gone) * (1 - part))} left` : '';
    const bar = (cells: number) => '█'.repeat(Math.round(part * cells)).padEnd(cells, '░');
    return fitting(width, [
      `${label}  ${bar(20)}  ${percent}${left}${tail}`,
      `${label}  ${bar(10)}  ${percent}${left}${tail}`,
      ...(left === '' || tail === '' ? [] : [`${label}  ${percent}${left}${tail}`]),
      `${label}  ${bar(10)}  ${percent}${tail}`,
      `${label}  ${percent}${tail}`,
      `${label}  ${bar(10)}  ${percent}`,
      `${label}  ${percent}`,
      percent,
    ]);
  }
}

/** The first that fits; nothing where none does. */
function fitting(width: number, lines: readonly string[]): string {
  return lines.find((line) => displayWidth(line) <= width) ?? '';
}
