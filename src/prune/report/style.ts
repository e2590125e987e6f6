/** Beside those of all pages and of audits: the plot of what was forgotten against what was kept. */
export const REPORT_STYLE = `
.plot { position: relative; height: 18rem; margin: 1.5rem 1.25rem 0 4.5rem; border-left: 1px solid var(--soft); border-bottom: 1px solid var(--soft); }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; border: 0; overflow: visible; }
.plot polyline { fill: none; stroke: var(--low-bar); stroke-width: 2px; vector-effect: non-scaling-stroke; }
.plot .grid { stroke: var(--line); stroke-dasharray: none; stroke-width: 1px; }
.plot .goal { stroke: var(--high-bar); }
.dot { position: absolute; width: .7rem; height: .7rem; margin: -.35rem; border-radius: 50%; background: var(--low-bar); border: 1px solid var(--page); }
.dot.other { background: var(--page); border-color: var(--low-bar); }
.dot.start { background: var(--soft); border-radius: 0; }
.dot.pick { z-index: 1; width: 1.1rem; height: 1.1rem; margin: -.55rem; background: var(--high-bar); border: 3px solid var(--ink); }
.tick, .label { position: absolute; font-size: .8rem; white-space: nowrap; color: var(--soft); line-height: 1; }
.tick { right: calc(100% + .4rem); transform: translateY(50%); }
.label { color: var(--ink); background: var(--page); padding: .1rem .25rem; border-radius: .2rem; }
.across { display: flex; justify-content: space-between; margin: .35rem 1.25rem 0 4.5rem; color: var(--soft); font-size: .8rem; gap: .5rem; }
.keys .dot { position: static; display: inline-block; margin: 0 .4rem 0 0; vertical-align: -.08rem; }
.keys .line { display: inline-block; width: 1.2rem; border-top: 2px dashed var(--high-bar); margin-right: .4rem; vertical-align: .25rem; }
.across span { white-space: nowrap; }
.side { font-size: .95rem; margin: 1.5rem 0 .25rem; color: var(--ink); }
@media (max-width: 40rem) {
  .plot { margin-left: 3.25rem; } .across { margin-left: 3.25rem; }
}
`;
