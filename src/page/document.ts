import { PAGE_STYLE } from './style.ts';
import { escaped } from './text.ts';

/** A page that needs nothing else. @param style beside `PAGE_STYLE` @param body HTML, with its scripts */
export function htmlPage(title: string, style: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${PAGE_STYLE}${style}</style>
</head>
<body>
${body}
</body>
</html>
`;
}
