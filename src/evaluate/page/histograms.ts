import { whole } from '../../page/html.ts';
import { escaped } from '../../page/text.ts';
import type { ArmEntropies, EntropiesBehind } from './entropies.ts';

/** Entropies behind each number of examples: right answers upwards, others downwards. */
export function histograms(all: readonly ArmEntropies[]): string {
  if (all.length === 0)
    return '<p class="none">No adaptive arm was run, or its results do not tell what was tried.</p>';
  return `<p class="hint">Entropy of the answer behind each number of examples that was tried: low where the model is sure. An arm stops at the first number below its threshold.</p>
<ul class="keys"><li><span class="swatch l"></span>right there</li><li><span class="swatch h"></span>wrong there</li><li><span class="swatch t"></span>threshold</li></ul>
${all.map(ofArm).join('\n')}`;
}

function ofArm(entropies: ArmEntropies): string {
  const { arm, thresholds, behind, ofLabels } = entropies;
  const unit = ofLabels ? ', in nats over the labels' : ', of the answer to a question';
  const sure = thresholds.length === 0 ? '' : `; threshold ${thresholds.map((one) => one.toFixed(3)).join(', ')}`;
  return `<h3>${escaped(arm)}${unit}${sure}</h3>
<div class="behind">
${behind.map((one) => bars(one, entropies)).join('\n')}
</div>`;
}

function bars({ shots, chosen, right, wrong }: EntropiesBehind, of: ArmEntropies): string {
  const tallest = Math.max(1, ...right, ...wrong);
  const { width, thresholds } = of;
  const end = width * right.length;
  const each = 100 / right.length;
  const bar = (count: number, i: number, up: boolean): string => {
    if (count === 0) return '';
    const tall = (48 * count) / tallest;
    const y = up ? 50 - tall : 50;
    return `<rect class="${up ? 'l' : 'h'}" x="${(i * each + 0.4).toFixed(2)}%" width="${(each - 0.8).toFixed(2)}%" y="${y.toFixed(2)}%" height="${tall.toFixed(2)}%"><title>${count} ${up ? 'right' : 'wrong'}, ${(i * width).toFixed(2)} to ${((i + 1) * width).toFixed(2)}</title></rect>`;
  };
  const lines = thresholds
    .filter((threshold) => threshold <= end)
    .map((threshold) => {
      const at = `${((100 * threshold) / end).toFixed(2)}%`;
      return `<line x1="${at}" x2="${at}" y1="0" y2="100%"/>`;
    });
  const sum = (list: readonly number[]): number => list.reduce((total, count) => total + count, 0);
  const said = `${whole(sum(right))} right, ${whole(sum(wrong))} wrong`;
  return `<figure class="bars"><p><b>${whole(shots)} ${shots === 1 ? 'example' : 'examples'}</b>: ${said}; ${whole(chosen)} answered here</p>
<svg role="img" aria-label="Entropies behind ${whole(shots)} examples: ${said}">
${[...right.map((count, i) => bar(count, i, true)), ...wrong.map((count, i) => bar(count, i, false))].filter((one) => one !== '').join('\n')}
<line class="zero" x1="0" x2="100%" y1="50%" y2="50%"/>
${lines.join('\n')}
</svg>
<figcaption><span>0</span><span>entropy; the tallest bar is ${tallest} ${tallest === 1 ? 'item' : 'items'}</span><span>${end.toFixed(2)}</span></figcaption></figure>`;
}
