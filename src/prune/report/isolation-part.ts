import { code, table, whole } from '../../page/html.ts';
import { escaped } from '../../page/text.ts';
import type { IsolationReceipt, RoleReceipt } from '../proof/receipt.ts';

type Steps = Readonly<Record<string, { readonly steps: number; readonly verified: number }>>;

/** What trained what, what rested, and how far that was compared. @param experts names of forget experts, by number */
export function isolationPart(receipt: IsolationReceipt, experts: readonly string[]): string {
  const { roles, base, moments, violations, holds, closed } = receipt;
  const rows = roles.map((own) => ({
    cells: [nameOf(own.role, experts), whole(own.parameters), trainedOf(own, experts), restedOf(own.rested, experts)],
  }));
  const frozen = {
    cells: ['the model itself', `${whole(base.tensors)} tensors`, 'never', restedOf(base.rested, experts)],
  };
  const said = holds
    ? `In all that was compared nothing had changed that no step was for${closed ? '' : '; the end was not compared, and the record is open'}. Of steps that are not verified only gradients were looked at, and there were none.`
    : '<span class="bad">Something changed, or was about to change, that no step was for.</span>';
  const found = violations.map(
    ({ what, role, name, step, since }) =>
      `<li class="bad">${escaped(what)}: ${escaped(role ?? 'the model itself')}, ${code(name)}, steps ${whole(since)} to ${whole(step)}</li>`,
  );
  const digests = moments.map(({ at, step, base: own }) => ({ cells: [escaped(at), whole(step), code(own)] }));
  return `<p>${said} A step counts as verified where digests at both ends of a stretch were equal, and no step of the stretch was for what they are of.</p>
${found.length > 0 ? `<ul>\n${found.join('\n')}\n</ul>\n` : ''}${table('Isolation', ['what', 'parameters', 'trained by', 'rested, verified of all steps'], [...rows, frozen], true)}
<p>Digests of the model itself:</p>
${table('Digests of the model', ['at', 'after step', 'SHA-256'], digests, true)}`;
}

function nameOf(role: string, experts: readonly string[]): string {
  if (role === 'shared') return 'A, shared';
  if (role === 'retain') return 'B<sub>r</sub>, what is kept';
  return `B<sub>${escaped(role.slice(7))}</sub>, forgets ${escaped(experts[Number(role.slice(7)) - 1] ?? role)}`;
}

function kindOf(kind: string, experts: readonly string[]): string {
  if (kind === 'structure' || kind === 'retain') return kind;
  const name = experts[Number(kind.slice(7)) - 1];
  return escaped(name === undefined ? kind : `forgetting ${name}`);
}

function trainedOf({ trained }: RoleReceipt, experts: readonly string[]): string {
  const lines = Object.entries(trained).map(([kind, { steps, tokens }]) => {
    const all = Object.values(tokens);
    const [high, low] = [all.reduce((sum, own) => sum + own.high, 0), all.reduce((sum, own) => sum + own.low, 0)];
    return `${kindOf(kind, experts)}: ${whole(steps)} steps, ${whole(high)} tokens of high and ${whole(low)} of low entropy`;
  });
  return lines.length === 0 ? 'never' : lines.join('<br>');
}

function restedOf(rested: Steps, experts: readonly string[]): string {
  const lines = Object.entries(rested).map(
    ([kind, { steps, verified }]) => `${kindOf(kind, experts)}: ${whole(verified)} of ${whole(steps)}`,
  );
  return lines.length === 0 ? 'in no step' : lines.join('<br>');
}
