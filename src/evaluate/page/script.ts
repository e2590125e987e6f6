/** Compares any two arms, and shows the items where they differ. Without it the page has the first two, and a table of all. */
export const SCRIPT = `
(() => {
  const { arms, pairs, first } = JSON.parse(document.getElementById('pairs').textContent);
  const byArms = new Map(pairs.map(([a, b, ...counts]) => [a + ' ' + b, counts]));
  const [one, other, which] = ['arm-a', 'arm-b', 'which'].map((id) => document.getElementById(id));
  const examples = [...document.querySelectorAll('.example')];
  const set = (id, text) => { document.getElementById(id).textContent = text; };
  for (const select of [one, other]) for (const [number, name] of arms) select.add(new Option(name, number));
  const show = () => {
    const [a, b] = [one.value, other.value];
    const names = [one, other].map((select) => select.selectedOptions[0].text);
    const straight = byArms.get(a + ' ' + b);
    const turned = byArms.get(b + ' ' + a);
    const [both, onlyA, onlyB, none, p] = straight || (turned && [turned[0], turned[2], turned[1], turned[3], turned[4]]) || ['–', '–', '–', '–', '–'];
    set('name-a', names[0]); set('name-b', names[1]);
    set('only-name-a', names[0]); set('only-name-b', names[1]);
    set('both', both); set('only-a', onlyA); set('only-b', onlyB); set('none', none); set('p', p);
    const texts = { differ: 'one alone is right', a: 'only ' + names[0] + ' is right', b: 'only ' + names[1] + ' is right', both: 'both are right', none: 'neither is right', all: 'all' };
    for (const option of which.options) option.text = texts[option.value];
    let count = 0;
    for (const node of examples) {
      const [x, y] = [node.dataset.o[a], node.dataset.o[b]];
      const kind = x === '-' || y === '-' ? '' : x === '1' ? (y === '1' ? 'both' : 'a') : y === '1' ? 'b' : 'none';
      const wanted = which.value === 'all' || which.value === kind || (which.value === 'differ' && (kind === 'a' || kind === 'b'));
      node.hidden = !wanted;
      if (wanted) count++;
    }
    set('count', count + ' of ' + examples.length);
  };
  one.value = first[0];
  other.value = first[1];
  for (const select of [one, other, which]) select.addEventListener('change', show);
  for (const node of document.querySelectorAll('.choose')) node.hidden = false;
  show();
})();
`;
