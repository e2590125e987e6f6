/** Beside `PAGE_STYLE`. Charts have no view box: places are shares of the width, letters have their own size on any screen. */
export const EVALUATION_STYLE = `
.chart .frame { margin: 1.25rem 1.25rem 0 3rem; }
.chart svg { height: 19rem; overflow: visible; border-left: 1px solid var(--soft); border-bottom: 1px solid var(--soft); }
.chart line { stroke: var(--c); stroke-width: 2px; stroke-dasharray: none; }
.chart .grid { stroke: var(--line); stroke-width: 1px; }
.chart text { font-size: .8rem; fill: var(--soft); font-variant-numeric: tabular-nums; }
.chart .up { text-anchor: end; }
.chart .over { text-anchor: middle; }
.chart circle { fill: var(--c); stroke: var(--page); stroke-width: 1.5px; }
.chart .point text { text-anchor: middle; fill: var(--page); font-weight: 700; font-size: .75rem; }
.chart .point:hover line { stroke-width: 4px; }
.axis { text-align: center; color: var(--soft); font-size: .8rem; margin: 2rem 0 0; }
.no { display: inline-block; min-width: 1.35rem; padding: 0 .3rem; margin-right: .4rem; border-radius: .7rem; background: var(--c); color: var(--page); font-size: .75rem; font-weight: 700; line-height: 1.35rem; text-align: center; }
td small, th small { color: var(--soft); font-weight: 400; white-space: nowrap; }
th { white-space: nowrap; } .example th { white-space: normal; }
.behind { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 0 2rem; }
.bars { margin: .75rem 0; }
.bars p { margin: 0 0 .25rem; font-size: .875rem; }
.bars svg { height: 7.5rem; border: 0; overflow: visible; }
.bars .zero { stroke: var(--soft); stroke-width: 1px; stroke-dasharray: none; }
.bars figcaption { margin-top: .35rem; }
.swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem; margin-right: .4rem; vertical-align: -.08rem; }
.swatch.l { background: var(--low-bar); } .swatch.h { background: var(--high-bar); } .swatch.t { width: 1.2rem; height: 0; border-top: 2px dashed var(--ink); border-radius: 0; vertical-align: .25rem; }
.choose { display: flex; flex-wrap: wrap; gap: .5rem .75rem; align-items: center; margin: .75rem 0; }
.choose select { font: inherit; font-size: 1rem; color: var(--ink); background: var(--box); border: 1px solid var(--line); border-radius: .35rem; padding: .3rem .5rem; max-width: 100%; }
.choose[hidden], .example[hidden] { display: none; }
.example { border-bottom: 1px solid var(--line); }
.example > summary { color: var(--ink); font-size: 1rem; padding: .6rem 0; }
.example > summary small { display: block; color: var(--soft); font-size: .85rem; padding-left: 1rem; }
.example > div { padding: 0 0 1rem 1rem; }
.top { list-style: none; margin: 0; padding: 0; max-width: 22rem; }
.top li { display: flex; justify-content: space-between; gap: 1rem; padding: 0 .3rem; border-radius: .15rem; background: linear-gradient(var(--low), var(--low)) 0 / var(--p) 100% no-repeat; }
.top li span { overflow-wrap: anywhere; }
.yes { color: var(--low-bar); font-weight: 700; } .no-answer { color: var(--high-bar); font-weight: 700; }
.shown { margin: .25rem 0; padding-left: 1.25rem; font-size: .9rem; }
@media (max-width: 40rem) {
  .chart .frame { margin: 1rem .75rem 0 2.4rem; }
  .wide:not(.long) th, .wide:not(.long) td { padding-right: .5rem; }
  .long td .top { max-width: none; }
  .example > div { padding-left: 0; }
}
`;
