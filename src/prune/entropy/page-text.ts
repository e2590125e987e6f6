import { visibleText } from '../../model/text/visible.ts';

/** Text in HTML. What a terminal or a browser would act on is shown as a replacement character. */
export function escaped(text: string): string {
  return visibleText(text).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** JSON that ends no script. */
const inScript = (data: unknown): string => JSON.stringify(data).replace(/</g, '\\u003c');

/** What `SCRIPT` reads: of tokens by their number, and names of experts. */
export function tokenData(tokens: readonly unknown[], experts: readonly string[] | null): string {
  const element = (id: string, data: unknown): string =>
    `<script type="application/json" id="${id}">${inScript(data)}</script>`;
  return [element('data', tokens), ...(experts === null ? [] : [element('experts', experts)])].join('\n');
}
