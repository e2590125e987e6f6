import { visibleText } from '../model/text/visible.ts';

/** Text in HTML. What a terminal or a browser would act on is shown as a replacement character. */
export function escaped(text: string): string {
  return visibleText(text).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** Data for a page's script, which reads them by the id of their element. They cannot end it. */
export function dataElement(id: string, data: unknown): string {
  const json = JSON.stringify(data).replace(/</g, '\\u003c');
  return `<script type="application/json" id="${escaped(id)}">${json}</script>`;
}
