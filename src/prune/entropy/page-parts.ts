/** Style and script of a page of an audit, as they stand in it. */

/** Experts have a colour and a kind of line each, and begin again behind these; their numbers stand beside. */
export const EXPERT_COLOURS = 6;

/** Beside that of all pages. */
export const STYLE = `
.legend { list-style: none; padding: 0; margin: 1rem 0; display: flex; flex-wrap: wrap; gap: .35rem 1.5rem; font-size: .875rem; }
.text { margin: 0; padding: .9rem 1rem; background: var(--box); border: 1px solid var(--line); border-radius: .5rem;
  white-space: pre-wrap; line-height: 2; font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .95rem; }
.h, .l, .o { border-radius: .2rem; padding: .12em 0; box-shadow: inset 0 0 0 .5px var(--box); }
.h { background: var(--high); color: var(--high-ink); box-shadow: inset 0 0 0 .5px var(--box), inset 0 -.16em 0 var(--high-line); }
.l { background: var(--low); color: var(--low-ink); }
.o { color: var(--soft); }
.e { border-bottom: 3px solid var(--e); }
.s::before { content: attr(data-e); color: var(--e); font: 700 .65em system-ui, sans-serif; vertical-align: super; padding-inline: .1em; }
.e1 { --e: var(--e1); } .e2 { --e: var(--e2); border-bottom-style: double; } .e3 { --e: var(--e3); border-bottom-style: dashed; }
.e4 { --e: var(--e4); border-bottom-style: dotted; } .e5 { --e: var(--e5); } .e6 { --e: var(--e6); border-bottom-style: double; }
.legend .h, .legend .l, .legend .o { padding: .15em .5em; }
#texts [data-i] { cursor: default; }
#texts [data-i]:focus { outline: none; }
#texts .on { outline: 2px solid var(--ink); outline-offset: 1px; }
.cut { position: absolute; top: -1.5rem; transform: translateX(-50%); font-size: .8rem; white-space: nowrap; }
#details { position: fixed; z-index: 1; width: 20rem; padding: .75rem .9rem; background: var(--box); border: 1px solid var(--line); border-radius: .5rem;
  box-shadow: 0 6px 24px rgb(0 0 0 / .25); font-size: .85rem; line-height: 1.45; pointer-events: none; overflow-wrap: anywhere; }
#details b { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre-wrap; }
#details p { margin: 0 0 .35rem; }
#details table { border-collapse: collapse; width: 100%; } #details td { padding: .08rem 0; vertical-align: baseline; }
#details td:first-child { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre-wrap; }
#details td:last-child { text-align: right; font-variant-numeric: tabular-nums; padding-left: 1rem; white-space: nowrap; }
#details .own { font-weight: 700; } #details .gate { margin-top: .5rem; }
@media (max-width: 40rem) {
  main { padding-bottom: 15rem; }
  #details { left: .5rem !important; right: .5rem; top: auto !important; bottom: .5rem; width: auto; }
}
@media (forced-colors: active) { .h { text-decoration: underline 2px; } }
@media print { #details, .hint { display: none; } .h, .l, rect { print-color-adjust: exact; } }
`;

/** Shows what is known of the token that is pointed at, or chosen with the keyboard. */
export const SCRIPT = `
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const texts = document.getElementById('texts');
  const box = document.getElementById('details');
  const named = document.getElementById('experts');
  const experts = named ? JSON.parse(named.textContent) : [];
  const all = texts.querySelectorAll('[data-i]');
  let on = null;
  const make = (tag, text, parent) => {
    const node = document.createElement(tag);
    node.textContent = text;
    parent.append(node);
    return node;
  };
  const quoted = (text) => JSON.stringify(text);
  const percent = (p) => (p >= 0.0995 || p < 1e-8 ? (100 * p).toFixed(0) : p >= 0.00095 ? (100 * p).toFixed(1) : (100 * p).toPrecision(1)) + ' %';
  const hide = () => { if (on) on.classList.remove('on'); on = null; box.hidden = true; };
  const show = (span) => {
    if (span === on) return;
    hide();
    on = span;
    span.classList.add('on');
    const [text, high, entropy, alike, own, likely, routing] = data[span.dataset.i];
    box.replaceChildren();
    make('b', quoted(text), make('p', '', box));
    if (entropy === undefined) make('p', 'Nothing stands before it that it could be guessed from.', box);
    else {
      const few = alike === null ? '' : ': as uncertain as among ' + alike + ' equally likely tokens';
      make('p', 'entropy ' + entropy + ', ' + (high ? 'high' : 'low') + few, box);
      if (own !== null) make('p', 'its probability was ' + percent(own), box);
      make('p', 'likeliest in its place:', box);
      const table = make('table', '', box);
      for (const [word, p] of likely) {
        const row = make('tr', '', table);
        if (word === text) row.className = 'own';
        make('td', quoted(word), row);
        make('td', percent(p), row);
      }
      if (routing) {
        const [shares, coefficients] = routing;
        make('p', 'experts, what the gate gives them and how much they act:', box).className = 'gate';
        const slots = make('table', '', box);
        for (const [slot, share] of shares.entries()) {
          const row = make('tr', '', slots);
          const coefficient = slot > 0 ? coefficients[slot - 1] : 0;
          const acts = Math.abs(coefficient) >= 0.01;
          if (acts) row.className = 'own';
          make('td', slot === 0 ? 'none' : slot + ' ' + experts[slot - 1], row);
          make('td', percent(share) + (acts ? ', acts × ' + Number(coefficient.toPrecision(2)) : ''), row);
        }
      }
    }
    box.hidden = false;
    const at = (span.getClientRects()[0] || span.getBoundingClientRect());
    const { offsetWidth: width, offsetHeight: height } = box;
    box.style.left = Math.max(8, Math.min(at.left, innerWidth - width - 8)) + 'px';
    const below = at.bottom + 6;
    box.style.top = Math.max(8, below + height + 8 > innerHeight ? at.top - height - 6 : below) + 'px';
  };
  const spanOf = (target) => target.closest && target.closest('[data-i]');
  texts.addEventListener('pointerover', (event) => { const span = spanOf(event.target); if (span) show(span); });
  texts.addEventListener('pointerleave', (event) => { if (event.pointerType === 'mouse' && document.activeElement !== on) hide(); });
  const choose = (span) => {
    for (const one of texts.querySelectorAll('[tabindex]')) one.tabIndex = -1;
    span.tabIndex = 0;
    span.focus();
    show(span); // a window behind others tells nobody of its focus
  };
  texts.addEventListener('click', (event) => { const span = spanOf(event.target); if (span) choose(span); });
  texts.addEventListener('focusin', (event) => { const span = spanOf(event.target); if (span) show(span); });
  texts.addEventListener('focusout', hide);
  texts.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') return hide();
    const step = event.key === 'ArrowRight' || event.key === 'ArrowDown' ? 1 : event.key === 'ArrowLeft' || event.key === 'ArrowUp' ? -1 : 0;
    const span = spanOf(event.target);
    const next = step && span && all[Number(span.dataset.i) + step];
    if (!next) return;
    event.preventDefault();
    choose(next);
  });
  if (all.length > 0) all[0].tabIndex = 0;
  addEventListener('scroll', () => { if (document.activeElement !== on) hide(); }, { passive: true });
})();
`;
