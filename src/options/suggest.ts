/**
 * What other programs call an option, without case and separators (OpenAI, transformers and its trainer, peft, mlx-lm,
 * llama.cpp, vLLM, Ollama). Where a name stands
 * twice, the first option that the call at hand has is suggested.
 */
const ELSEWHERE = {
  maxTokens: 'maxnewtokens maxlength maxcompletiontokens maxoutputtokens npredict numpredict n',
  temperature: 'temp dosample',
  topK: 'k numexpertspertok nexpertused',
  topP: 'p nucleus',
  repetitionPenalty: 'repeatpenalty frequencypenalty presencepenalty',
  seed: 'randomseed randomstate',
  stop: 'stopsequences stopstrings stopwords antiprompt reverseprompt',
  stopAtEos: 'ignoreeos eostokenid',
  skipSpecialTokens: 'special',
  showSpecialTokens: 'skipspecialtokens special',
  specialTokens: 'splitspecialtokens parsespecial',
  addSpecialTokens: 'addspecial',
  addBos: 'addspecialtokens addspecial bos',
  contextLength: 'nctx numctx ctx ctxsize contextsize contextwindow maxlength maxseqlen maxmodellen',
  lanes: 'threads nthreads numthreads cores concurrency njobs workers numworkers',
  workers: 'threads nthreads numthreads cores concurrency njobs lanes',
  precision: 'dtype torchdtype quantization quantized',
  onProgress: 'progresscallback callback',
  onDownload: 'downloadprogress',
  signal: 'abort abortsignal controller abortcontroller',
  cache: 'cachedir cachefolder',
  'hub.offline': 'localfilesonly',
  'hub.token': 'hftoken accesstoken authtoken apikey',
  'hub.revision': 'branch commit',
  'hub.file': 'filename',
  memoryLimit: 'maxmemory maxram',
  wasmLocation: 'wasmpath wasmpaths',
  pool: 'poolingtype',
  experts: 'numexperts nexperts numlocalexperts',
  out: 'outputdir outdir outfile output outputpath',
  adapters: 'lora adapter adapterpath peft',
  adapter: 'lora adapterpath peft',
  data: 'dataset traindata trainfile trainingdata',
  heldOut: 'validation validationsplit valsplit evalsplit testsize evaldataset valdata',
  lr: 'learningrate',
  learningRate: 'lr',
  lora: 'rank alpha lorar lorarank loraalpha r',
  loraTargets: 'targetmodules loratargetmodules lorakeys',
  targets: 'targetmodules',
  rank: 'r',
  alpha: 'loraalpha',
  batch: 'batchsize perdevicetrainbatchsize',
  epochs: 'numtrainepochs numepochs',
  steps: 'maxsteps iters iterations maxiters',
  'max-tokens': 'maxseqlength maxseqlen',
  rows: 'gradientaccumulationsteps gradaccumulationsteps gradientaccumulation',
  schedule: 'lrscheduler lrschedulertype scheduler lrschedule',
  warmup: 'warmupsteps warmupratio',
  clip: 'maxgradnorm gradclip clipgradnorm',
  recompute: 'gradientcheckpointing gradcheckpoint activationcheckpointing',
  evaluateEvery: 'evalsteps stepspereval evalevery',
  saveEvery: 'savesteps stepspersave',
  patience: 'earlystopping earlystoppingpatience',
};

/** Without case and separators. */
const plain = (name: string): string => name.replace(/[\s_-]/g, '').toLowerCase();

/** The last part of a path of names. */
const last = (name: string): string => name.slice(name.lastIndexOf('.') + 1);

/**
 * What may have been meant by a name that is not there; null where nothing is near.
 * @param names that are there; `hub.token` is one of an object
 */
export function nearest(name: string, names: readonly string[]): string | null {
  const wanted = plain(name).slice(0, 60);
  if (wanted === '') return null;
  const same = names.find((known) => plain(known) === wanted);
  if (same !== undefined) return same;
  for (const [known, others] of Object.entries(ELSEWHERE)) {
    if (!others.split(' ').includes(wanted)) continue;
    // a flag is the same name in kebab case
    const here = names.find((other) => plain(other) === plain(known));
    if (here !== undefined) return here;
  }
  const inside = names.find((other) => other.includes('.') && plain(last(other)) === wanted);
  if (inside !== undefined) return inside;

  let best: string | null = null;
  let least = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const other of names) {
    const distance = edits(wanted, plain(last(other)));
    if (distance < least) [best, least] = [other, distance];
  }
  if (best !== null) return best;
  return wanted.length < 3 ? null : (names.find((other) => plain(other).startsWith(wanted)) ?? null);
}

/** Letters to insert, take away, replace or swap with their neighbour, to make one of the other. */
function edits(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, before[j - 2]! + 1);
      row.push(least);
    }
    [before, above] = [above, row];
  }
  return above[b.length]!;
}
