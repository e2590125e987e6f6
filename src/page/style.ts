/** Style of all pages that are written: colours for light and dark, text, figures and tables. What one kind of page has besides follows it. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --page: #fbfaf8; --ink: #1d1d1f; --soft: #5b5d63; --line: #d9d6cf; --box: #ffffff;
  --high: #ffd699; --high-ink: #3a2300; --high-line: #b45309; --low: #dbe9fb; --low-ink: #0f2a4d; --low-bar: #4f86c6; --high-bar: #c8730a; --bad: #b00020;
  --e1: #7b1fa2; --e2: #00695c; --e3: #b00020; --e4: #1b5e20; --e5: #5d4037; --e6: #0d47a1; }
@media (prefers-color-scheme: dark) {
  :root { --page: #141518; --ink: #e9e8e4; --soft: #a9abb2; --line: #34363c; --box: #1f2125;
    --high: #5c3a06; --high-ink: #ffe7c4; --high-line: #f0a63c; --low: #1a3250; --low-ink: #d7e7fb; --low-bar: #4d7fb8; --high-bar: #e39a35; --bad: #ff9a9a;
    --e1: #e1a6f5; --e2: #5fd6c4; --e3: #ff9a9a; --e4: #9be08f; --e5: #e0c3a8; --e6: #9cc4ff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h3 { font-size: .85rem; font-weight: 600; color: var(--soft); margin: 1.25rem 0 .25rem; }
.model { font-weight: 400; color: var(--soft); }
.hint, .note { color: var(--soft); font-size: .875rem; margin: .25rem 0 .75rem; }
sub { line-height: 0; font-size: .75em; }
i { font-style: normal; color: var(--soft); }
figure { position: relative; margin: 1.75rem 0 1rem; }
figure svg { display: block; width: 100%; height: 9rem; border-bottom: 1px solid var(--soft); }
figure rect { stroke: none; }
rect.h { fill: var(--high-bar); } rect.l { fill: var(--low-bar); }
figure line { stroke: var(--ink); stroke-width: 1.5px; stroke-dasharray: 4 3; vector-effect: non-scaling-stroke; }
figcaption { display: flex; justify-content: space-between; gap: .75rem; color: var(--soft); font-size: .8rem; margin-top: .25rem; text-align: center; }
dl { display: flex; flex-wrap: wrap; gap: .75rem 2rem; margin: 1rem 0; }
dl div { min-width: 5.5rem; } dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-size: 1.1rem; font-variant-numeric: tabular-nums; }
.none { color: var(--soft); font-style: italic; }
.wide { overflow-x: auto; margin: .75rem 0; overflow-wrap: normal; }
.wide table { border-collapse: collapse; font-size: .9rem; min-width: 100%; }
.wide th, .wide td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; font-variant-numeric: tabular-nums; }
.wide th { font-weight: 600; } .wide thead th { color: var(--soft); font-weight: 400; font-size: .8rem; vertical-align: bottom; }
.chosen th, .chosen td { background: var(--low); color: var(--low-ink); font-weight: 700; }
.bad { color: var(--bad); font-weight: 700; }
code { font: .85em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; word-break: break-all; }
.keys { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .35rem 1.5rem; font-size: .875rem; }
details summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
@media (max-width: 40rem) {
  .long thead { display: none; }
  .long tr { display: block; border-bottom: 1px solid var(--line); padding: .4rem 0; }
  .long th, .long td { display: block; border: 0; padding: .1rem 0; }
  .long td::before { content: attr(data-head) ": "; color: var(--soft); }
}
`;
