#!/usr/bin/env bash
# What a machine with a GPU is to do (bench/campaign/pack.sh says how it gets there): jobs one behind the other, in the background, and a look at them.
#
#   bash bench/campaign/jobs.sh start NODE DATA OUT JOB…   in the tree's root; DATA: where texts.txz was unpacked
#   bash bench/campaign/jobs.sh look OUT FILE…             fails at once where nothing was begun; else what was told so far
#
# Jobs: tiles (matrix units, as a page has them), tiles-unsafe (without robust access), draws, top-k and
# q4_1 (decoding at a temperature, with top-k, and with SmolLM2's own weights), probe (200 steps of pretraining),
# stories (SmolLM2's, three processes, in the background), spri (in the background; SPRI_ARGUMENTS are added).
set -uo pipefail
[ "$1" = look ] && {
  cat "$2/log.txt" || exit 1
  for file in "${@:3}"; do
    echo "== $file"
    tail -n 3 "$2/$file" | cut -c1-300
  done
  exit 0
}
[ "$1" = start ] || { sed -n 2,8p "$0"; exit 2; }
node=$2 data=$3 out=$4
shift 4
mkdir -p "$out/spri" "$out/stories"
say() { echo "$(date +%H:%M:%S) $*" >>"$out/log.txt"; }
smol=campaign/models/SmolLM2-135M-Instruct.Q4_1.gguf
tiles=(bench/main.ts devices --matrix --n 8192 --at 8192 --seconds 30 --rounds 3)
say begin
for job in "$@"; do
  case $job in
    tiles) timeout 100 "$node" "${tiles[@]}" >"$out/tiles.txt" 2>&1 ;;
    tiles-unsafe) ESPALIER_DAWN_FEATURES=disable_robustness timeout 100 "$node" "${tiles[@]}" >"$out/tiles-unsafe.txt" 2>&1 ;;
    draws) timeout 60 "$node" bench/main.ts devices --decoding --texts 1,32,64 --temperature 1 >"$out/draws.txt" 2>&1 ;;
    top-k) timeout 60 "$node" bench/main.ts devices --decoding --texts 1,32 --temperature 1 --top-k 40 >"$out/top-k.txt" 2>&1 ;;
    q4_1) timeout 60 "$node" bench/main.ts devices --decoding --texts 1,32 --model "$smol" >"$out/q4_1.txt" 2>&1 ;;
    probe)
      timeout 60 "$node" examples/pretrain/main.ts --device webgpu --hidden 192 --layers 6 --tokens 8192 --out "$out/probe" --steps 200 \
        --evaluate-every 1000 >"$out/probe.txt" 2>&1
      ;;
    stories)
      for part in 0 1 2; do
        setsid nohup "$node" examples/pretrain/teach.ts "$smol" --stories "$data/tinystories_1000.json" --out "$out/stories" --device webgpu \
          --count 300000 --part "$part/3" --seconds "${STORIES_SECONDS:-950}" >"$out/stories-$part.txt" 2>&1 &
      done
      ;;
    spri)
      # shellcheck disable=SC2086
      setsid nohup "$node" examples/spri-translation/main.ts "$smol" --train "$data/train.tsv" --held-out "$data/held-out.tsv" --out "$out/spri" \
        --steps 512 --batch 128 --learning-rate 2e-3 --translate 450 --device webgpu ${SPRI_ARGUMENTS:-} >"$out/spri.txt" 2>&1 &
      ;;
    *)
      say "there is no job $job"
      continue
      ;;
  esac
  say "$job: $?"
done
wait
