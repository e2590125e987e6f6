import type { EntropyDistribution } from './distribution.ts';

/** Entropies as bars, what is above the cut in another colour. */
export function histogram({ width, counts }: EntropyDistribution['histogram'], cut: number, most: number): string {
  const end = width * counts.length;
  const tallest = Math.max(1, ...counts);
  const place = Math.min(100, (100 * cut) / end);
  const each = 100 / counts.length;
  const bars = counts.map((count, i): string => {
    if (count === 0) return '';
    // so that one token among thousands is seen
    const tall = Math.max(1, (100 * count) / tallest);
    const [from, to] = [i * each, (i + 0.86) * each];
    // one that the cut goes through has both colours
    const middle = Math.min(to, Math.max(from, place));
    const part = (kind: string, left: number, right: number): string =>
      right - left < 0.01
        ? ''
        : `<rect class="${kind}" x="${left.toFixed(2)}" y="${(100 - tall).toFixed(2)}" width="${(right - left).toFixed(2)}" height="${tall.toFixed(2)}"/>`;
    return part('l', from, middle) + part('h', middle, to);
  });
  const label = `Histogram of entropies from 0 to ${most.toFixed(2)}; high is what is above ${cut.toFixed(2)}.`;
  return `<figure>
<div class="cut" style="left:clamp(2.5rem, ${place.toFixed(2)}%, calc(100% - 2.5rem))">cut ${cut.toFixed(2)}</div>
<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="${label}">
${bars.filter((bar) => bar !== '').join('\n')}
<line x1="${place.toFixed(2)}" x2="${place.toFixed(2)}" y1="0" y2="100"/>
</svg>
<figcaption><span>0</span><span>entropy; the tallest bar is ${tallest} ${tallest === 1 ? 'token' : 'tokens'}</span><span>${end.toFixed(2)}</span></figcaption>
</figure>`;
}
