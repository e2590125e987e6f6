import type { EspalierError } from '../errors.ts';
import { configInvalid } from './config/faults.ts';
import { scalingKind } from './rope/scalings.ts';
import type { ModelConfig, MoeConfig, RopeConfig } from './types.ts';

const MAX_SIZE = 2 ** 31 - 1;
export const MAX_LAYERS = 10_000;
/** Experts of a layer, and how many of them a token may visit (the router's kernel keeps that many in order). */
const MAX_EXPERTS = 65_536;
const MAX_CHOSEN = 64;

type Invalid = (what: string) => EspalierError;

/** What a configuration from any source must satisfy. @throws E_CONFIG_INVALID, naming the value */
export function checkConfig(config: ModelConfig, name: string): ModelConfig {
  const invalid = (what: string) => configInvalid(name, what);
  const size = (key: keyof ModelConfig, max = MAX_SIZE) => {
    const value = config[key];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > max) {
      throw invalid(`${key} is ${String(value)}, not a whole number from 1 to ${max}`);
    }
  };
  size('vocabSize');
  size('hiddenSize');
  size('intermediateSize');
  size('nLayers', MAX_LAYERS);
  size('nHeads');
  size('nKvHeads');
  size('headDim');
  size('maxPositions');
  const { nHeads, nKvHeads, headDim } = config;
  if (nHeads % nKvHeads !== 0) throw invalid(`${nHeads} heads cannot share ${nKvHeads} key and value heads evenly`);
  if (nHeads * headDim > MAX_SIZE) throw invalid(`${nHeads} heads of ${headDim} are too wide`);
  // weights are addressed by element in f64 and allocated by byte: keep every product exact
  for (const rows of [config.vocabSize, config.intermediateSize, nHeads * headDim]) {
    if (!Number.isSafeInteger(rows * config.hiddenSize * 4)) throw invalid('its matrices are too large to address');
  }
  if (!(config.rmsNormEps > 0 && config.rmsNormEps < 1)) throw invalid(`rmsNormEps is ${config.rmsNormEps}`);
  checkRopes(config, invalid);
  const { slidingWindow } = config;
  if (slidingWindow !== null && (!Number.isInteger(slidingWindow) || slidingWindow < 1 || slidingWindow > MAX_SIZE)) {
    throw invalid(`the sliding window is ${slidingWindow}`);
  }
  if ((slidingWindow === null) !== (config.windowLayers.length === 0)) throw invalid('a window without layers');
  for (const key of ['embeddingScale', 'residualScale', 'logitScale', 'attentionScale'] as const) {
    const value = config[key];
    if (value !== null && !(value > 0 && Number.isFinite(value))) throw invalid(`${key} is ${value}`);
  }
  if (config.moe) checkMoe(config, config.moe, invalid);
  return config;
}

function checkWhole(invalid: Invalid, what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw invalid(`${what} is ${value}, not a whole number from ${least} to ${most}`);
}

/** Numbers of layers, each once and in order. */
function checkLayers(config: ModelConfig, layers: readonly number[], which: string, invalid: Invalid): void {
  for (const [i, layer] of layers.entries()) {
    checkWhole(invalid, `a layer ${which}`, layer, 0, config.nLayers - 1);
    if (i > 0 && layer <= layers[i - 1]!) throw invalid(`the layers ${which} are not in ascending order`);
  }
}

function checkMoe(config: ModelConfig, moe: MoeConfig, invalid: Invalid): void {
  const whole = (what: string, value: number, least: number, most: number) =>
    checkWhole(invalid, what, value, least, most);
  const { experts, topK, router, layers } = moe;
  whole('the number of experts', experts, 1, MAX_EXPERTS);
  whole('the number of experts a token visits', topK, 1, Math.min(experts, MAX_CHOSEN));
  whole('the size of an expert', moe.expertSize, 1, MAX_SIZE);
  whole('the size of the shared expert', moe.sharedSize, 0, MAX_SIZE);
  if (!Number.isSafeInteger(experts * Math.max(moe.expertSize, moe.sharedSize) * config.hiddenSize * 4)) {
    throw invalid('its experts are too large to address');
  }
  if (moe.sharedGate && moe.sharedSize === 0) throw invalid('there is a gate, and no shared expert behind it');
  checkLayers(config, layers, 'with experts', invalid);
  whole('the number of expert groups', router.groups, 1, experts);
  if (experts % router.groups !== 0) throw invalid(`${experts} experts do not divide into ${router.groups} groups`);
  whole('the number of groups a token visits', router.topGroups, 1, router.groups);
  if (topK > (experts / router.groups) * router.topGroups) {
    throw invalid(`${router.topGroups} groups have fewer experts than the ${topK} that a token visits`);
  }
  if (!(router.scale > 0 && Number.isFinite(router.scale)))
    throw invalid(`the scale of the experts is ${router.scale}`);
}

function checkRopes(config: ModelConfig, invalid: Invalid): void {
  const { rope, localRope, localRopeLayers, noRopeLayers, headDim } = config;
  checkRope(rope, headDim, invalid);
  checkLayers(config, localRopeLayers, 'with a RoPE of their own', invalid);
  checkLayers(config, noRopeLayers, 'without RoPE', invalid);
  if ((localRope === null) !== (localRopeLayers.length === 0)) throw invalid('a second RoPE without layers');
  if (localRope === null) return;
  checkRope(localRope, headDim, invalid);
  if (localRope.rotaryDims !== rope.rotaryDims || localRope.layout !== rope.layout) {
    throw invalid('its two RoPEs rotate different dimensions');
  }
}

function checkRope(rope: RopeConfig, headDim: number, invalid: Invalid): void {
  if (!(rope.theta > 1 && Number.isFinite(rope.theta))) throw invalid(`the RoPE base is ${rope.theta}`);
  const { scaling, frequencyDivisors, rotaryDims } = rope;
  if (!Number.isInteger(rotaryDims) || rotaryDims < 2 || rotaryDims % 2 !== 0 || rotaryDims > headDim) {
    throw invalid(`${rotaryDims} rotary dimensions of a head of ${headDim} are not an even number from 2 to that`);
  }
  const positive = (key: string, value: number) => {
    if (!(value > 0 && Number.isFinite(value))) throw invalid(`the RoPE scaling’s ${key} is ${value}`);
  };
  scalingKind(scaling).check(scaling, { rotaryDims, positive, invalid });
  if (frequencyDivisors === null) return;
  if (frequencyDivisors.length !== rotaryDims / 2) {
    throw invalid(`there are ${frequencyDivisors.length} RoPE frequency divisors for ${rotaryDims / 2} frequencies`);
  }
  for (const divisor of frequencyDivisors) positive('frequency divisor', divisor);
}
