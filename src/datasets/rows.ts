/** Lines and cells of text files, with the numbers of their lines. */

export interface Line {
  readonly text: string;
  /** From 1. */
  readonly line: number;
}

export interface Row {
  readonly cells: readonly string[];
  /** Where it begins, from 1. */
  readonly line: number;
  /** A quotation mark was never closed, or stood inside a cell without quotes: the row means nothing. */
  readonly open?: boolean;
}

/** Lines of a text that are not blank; they end with LF or CRLF. */
export function rowsOfLines(text: string): Line[] {
  return text
    .split('\n')
    .map((line, i) => ({ text: line.endsWith('\r') ? line.slice(0, -1) : line, line: i + 1 }))
    .filter((row) => row.text.trim() !== '');
}

/** Cells of a CSV text after RFC 4180: quoted ones may hold commas, line ends, and quotation marks written twice. */
export function rowsOfCsv(text: string): Row[] {
  const rows: Row[] = [];
  // a cell, and what ends it; a quoted cell is all between its quotation marks
  const cell = /(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r?\n|$)/y;
  let cells: string[] = [];
  let line = 1;
  let begin = 1;
  while (cell.lastIndex < text.length || cells.length > 0) {
    const match = cell.exec(text);
    if (match === null) {
      rows.push({ cells, line: begin, open: true });
      return rows;
    }
    const [all, quoted, plain, end] = match;
    cells.push(quoted === undefined ? plain! : quoted.replaceAll('""', '"'));
    line += all.split('\n').length - 1;
    if (end === ',') continue;
    if (cells.length > 1 || cells[0] !== '') rows.push({ cells, line: begin });
    cells = [];
    begin = line;
    if (cell.lastIndex >= text.length) break;
  }
  return rows;
}
