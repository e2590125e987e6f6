/** The kernels of training: the way back of each in `Kernels`, beside it in assembly/, and the optimiser. */
export interface TrainKernels {
  axpy(n: number, alpha: number, x: number, y: number): void;
  columnSum(first: number, last: number, rows: number, n: number, x: number, out: number): void;
  sumSquares(first: number, last: number, block: number, n: number, x: number, sums: number): void;
  adamStep(
    n: number,
    parameters: number,
    gradient: number,
    m: number,
    v: number,
    gradientScale: number,
    beta1: number,
    rest1: number,
    beta2: number,
    rest2: number,
    unbias2: number,
    epsilon: number,
    rate: number,
    decay: number,
  ): void;
  packFloats(type: number, first: number, last: number, n: number, k: number, from: number, to: number): void;
  scatterAdd(
    first: number,
    last: number,
    tokens: number,
    k: number,
    rows: number,
    ids: number,
    x: number,
    to: number,
  ): void;
  linearBackwardScratch(columns: number): number;
  linearBackward(
    kernel: number,
    m: number,
    n: number,
    k: number,
    dY: number,
    type: number,
    panels: number,
    shift: number,
    first: number,
    last: number,
    dX: number,
    accumulate: number,
    scratch: number,
  ): void;
  rmsNormBackward(
    first: number,
    last: number,
    n: number,
    eps: number,
    x: number,
    weight: number,
    dY: number,
    dX: number,
    inverses: number,
  ): void;
  rmsNormBackwardWeight(
    first: number,
    last: number,
    rows: number,
    n: number,
    x: number,
    dY: number,
    inverses: number,
    dWeight: number,
  ): void;
  ropeBackward(
    first: number,
    last: number,
    heads: number,
    headDim: number,
    rotaryDims: number,
    interleaved: number,
    x: number,
    stride: number,
    positions: number,
    fixed: number,
    table: number,
    tableRows: number,
  ): void;
  siluMultiplyBackward(
    first: number,
    last: number,
    n: number,
    stride: number,
    gate: number,
    up: number,
    dY: number,
    dGate: number,
    dUp: number,
  ): void;
  geluMultiplyBackward: TrainKernels['siluMultiplyBackward'];
  attentionBackwardScratch(keys: number, headDim: number): number;
  attentionBackward(
    kernel: number,
    first: number,
    last: number,
    segments: number,
    segmentCount: number,
    base: number,
    nHeads: number,
    nKvHeads: number,
    headDim: number,
    scale: number,
    q: number,
    stride: number,
    keys: number,
    values: number,
    window: number,
    mask: number,
    maskWidth: number,
    logSumExp: number,
    out: number,
    dOut: number,
    dQ: number,
    dKeys: number,
    dValues: number,
    scratch: number,
  ): void;
  scaleRowsBackward(
    first: number,
    last: number,
    n: number,
    coefficients: number,
    step: number,
    x: number,
    dY: number,
    dX: number,
    dCoefficients: number,
  ): void;
  crossEntropyBackward(
    first: number,
    last: number,
    n: number,
    logits: number,
    numbers: number,
    targets: number,
    weights: number,
    dLogits: number,
  ): void;
  divergenceBackward(
    first: number,
    last: number,
    n: number,
    reference: number,
    referenceNumbers: number,
    logits: number,
    numbers: number,
    weights: number,
    dLogits: number,
    losses: number,
  ): void;
  hingeLoss(first: number, last: number, numbers: number, places: number, targets: number, losses: number): void;
  hingeBackward(
    first: number,
    last: number,
    n: number,
    logits: number,
    numbers: number,
    places: number,
    targets: number,
    weights: number,
    dLogits: number,
  ): void;
  entropyBackward(
    first: number,
    last: number,
    n: number,
    q: number,
    logits: number,
    numbers: number,
    reference: number,
    weights: number,
    dLogits: number,
  ): void;
  routeBackward(
    first: number,
    last: number,
    experts: number,
    k: number,
    logits: number,
    score: number,
    renormalise: number,
    scale: number,
    places: number,
    dWeights: number,
    dLogits: number,
  ): void;
  routerLossesScratch(experts: number): number;
  routerLosses(rows: number, experts: number, logits: number, offsets: number, losses: number, scratch: number): void;
  routerLossesBackward(
    first: number,
    last: number,
    rows: number,
    experts: number,
    balance: number,
    z: number,
    logits: number,
    offsets: number,
    dLogits: number,
    scratch: number,
  ): void;
  gatherRowsBackward(first: number, last: number, k: number, n: number, dY: number, slots: number, dX: number): void;
  combineBackward(
    first: number,
    last: number,
    k: number,
    n: number,
    dOut: number,
    y: number,
    slots: number,
    weights: number,
    dY: number,
    dWeights: number,
  ): void;
  sigmoidScaleBackward(
    first: number,
    last: number,
    n: number,
    gate: number,
    x: number,
    dOut: number,
    dX: number,
    dGate: number,
  ): void;
}
