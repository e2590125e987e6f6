/** Tokens, ranking and evidence of a query, before anything is placed. */
import { EspalierError } from '../../errors.ts';
import type { Chains } from '../place/chains.ts';
import type { PlacedShots, ShotContext } from '../place/context.ts';
import type { ShotPool } from '../pool/pool.ts';
import { needsCentre, needsVector } from '../rank/rank.ts';
import type { Evidence } from './evidence.ts';
import type { AskOptions } from './options.ts';
import { QueryRun, type Task } from './query-run.ts';

/** Over a pool; its context is empty then. @throws E_ARGUMENT, E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED */
export async function startPooled(
  pool: ShotPool,
  evidence: Evidence | null,
  query: string,
  options: AskOptions,
  task: Task,
): Promise<QueryRun> {
  const started = performance.now();
  const { settings } = task;
  const { input, signal } = options;
  (task.placed as ShotContext).clear();
  const ranked = options.ranking === undefined;
  // shots that stand in turn are no neighbours: those by words are asked then
  const rank = settings.rank === 'contrast' ? 'bm25' : settings.rank;
  const withVector = ranked && needsVector(rank);
  evidence = settings.ridge ? evidence : null;
  const withFeatures = evidence !== null;
  // what was never encoded could not be ranked by its keys
  if (withVector || withFeatures) await pool.preparePooled({ signal });
  const withCentre = needsCentre(rank);
  const given = { withVector, withCentre, withFeatures, signal, ...(input !== undefined && { input }) };
  const encoded = await pool.encodeQuery(query, given);
  const near = options.ranking ?? pool.rank(encoded, rank).map(({ id }) => id);
  // a shot brings the others of its block along
  const excluded = new Set(options.exclude ?? []);
  // shots may go while a regression is fitted
  const isThere = (id: string) => pool.has(id);
  const isFree = (id: string) => !pool.unitOf(id).some(({ shot }) => excluded.has(shot.id));
  const neighbours = [...new Set(near)].filter(isFree);
  const voters = neighbours.slice(0, settings.vote?.neighbours ?? 0).map((id) => pool.shot(id));
  const reading = (await evidence?.read(encoded, excluded, signal)) ?? null;
  const contrasted = ranked && settings.rank === 'contrast' && reading;
  // most queries are sure without any shot, and need no order
  const ranking = () =>
    contrasted ? contrasted.contrast().filter(isThere).filter(isFree) : neighbours.filter(isThere);
  const run = new QueryRun(task, encoded.ids, ranking, signal, voters, reading?.shares);
  for (const passed of [withVector, withFeatures]) if (passed) run.forwarded += encoded.ids.length;
  run.milliseconds.rank = performance.now() - started;
  return run;
}

/** Over the chain of the task, or the one of these that the ranking chooses. @throws E_ARGUMENT */
export function startChained(
  chains: Chains | null,
  query: string,
  { exclude, ranking, input, signal }: AskOptions,
  task: Task,
): QueryRun {
  const started = performance.now();
  if (exclude?.length || (ranking && !chains)) {
    throw new EspalierError('E_ARGUMENT', 'The shots of a chain are fixed.', 'Use a pool to choose among shots.');
  }
  const ids = task.model.encode(query, { addBos: false });
  if (ids.length === 0) throw new EspalierError('E_ARGUMENT', 'The query has no tokens.', 'Give a text.');
  const order = ({ placed }: PlacedShots) => placed.map(({ id }) => id);
  if (!chains) return new QueryRun(task, ids, () => order(task.placed), signal, []);
  const ranked = [...new Set(ranking ?? chains.rank(input ?? query).map(({ id }) => id))];
  const placed = chains.choose(ranked);
  const voters = ranked.slice(0, task.settings.vote?.neighbours ?? 0).map((id) => chains.shot(id));
  const run = new QueryRun({ ...task, placed }, ids, () => order(placed), signal, voters);
  run.milliseconds.rank = performance.now() - started;
  return run;
}
