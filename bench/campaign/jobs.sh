#!/usr/bin/env bash
# What a machine with a GPU is to do (bench/campaign/pack.sh says how it gets there): jobs one behind the other, in the background, a look at them, and what came
# of them. In the copy that bench/campaign/unpack.sh has made:
#
#   bash bench/campaign/jobs.sh start OUT JOB…
#   bash bench/campaign/jobs.sh look OUT FILE…       what was told so far; fails at once where nothing is under way, so that `look … && sleep …` waits for something
#   bash bench/campaign/jobs.sh collect OUT TO KIND  results, in files of at most 13 MB: small, stories or pretrained
#
# Jobs: tiles (matrix units, as a page has them), tiles-unsafe (without robust access), draws and q4_1 (decoding, greedy and at a temperature; with SmolLM2's own weights), projection (grown beside
# PyTorch on the same GPU), crossover (beside the CPU's lanes), where (the CPU's lanes, by what takes their time), stories (SmolLM2's, three processes, in the background), pretrain (when the stories are there, in
# the background), spri (in the background; SPRI_ARGUMENTS are added).
set -uo pipefail
out=${2:-}
case ${1:-} in
  look)
    cat "$out/log.txt" && pgrep -f 'benc[h]/main.ts|pretrain/(teac[h]|mai[n]).ts|spri-translatio[n]/main.ts' >/dev/null || exit 1
    for file in "${@:3}"; do
      echo "== $file"
      tail -n 3 "$out/$file" | cut -c1-300
    done
    exit 0
    ;;
  collect)
    to=$3
    mkdir -p "$to"
    cd "$out" || exit 1
    case $4 in
      small) tar czf "$to/small.tgz" --exclude=stories/teacher --exclude='stories/unpacked*' --exclude='stories/stories-*.jsonl' --exclude=stories/all.jsonl --exclude=pretrained --exclude='spri/training*' --exclude='*.safetensors' --exclude='*.tmp*' . ;;
      stories) cat stories/stories-*.jsonl | xz -T8 -2 | split -b 13M - "$to/stories.xz." ;;
      pretrained) tar cf - pretrained | split -b 13M - "$to/pretrained.tar." ;;
      *)
        echo "there is no kind of results named $4" >&2
        exit 2
        ;;
    esac
    exit
    ;;
  start) ;;
  *)
    sed -n 2,13p "$0"
    exit 2
    ;;
esac
shift 2
node=$PWD/node
texts=campaign/texts
mkdir -p "$out/spri" "$out/stories"
say() { echo "$(date +%H:%M:%S) $*" >>"$out/log.txt"; }
smol=campaign/models/SmolLM2-135M-Instruct.Q4_1.gguf
tiles=(bench/main.ts devices --matrix --n 4096,8192 --at 8192 --seconds 35 --rounds 3)
decoding=(bench/main.ts devices --decoding)
teachers=() # that pretraining waits for
say begin
for job in "$@"; do
  case $job in
    tiles) timeout 100 "$node" "${tiles[@]}" >"$out/tiles.txt" 2>&1 ;;
    tiles-unsafe) ESPALIER_DAWN_FEATURES=disable_robustness timeout 100 "$node" "${tiles[@]}" >"$out/tiles-unsafe.txt" 2>&1 ;;
    draws)
      timeout 60 "$node" "${decoding[@]}" --texts 1,32 >"$out/greedy.txt" 2>&1
      timeout 60 "$node" "${decoding[@]}" --texts 1,32,64 --temperature 1 >"$out/draws.txt" 2>&1
      ;;
    q4_1) timeout 60 "$node" "${decoding[@]}" --texts 1,32 --model "$smol" >"$out/q4_1.txt" 2>&1 ;;
    projection) timeout 110 "$node" bench/main.ts projection --device webgpu --torch cuda >"$out/projection.txt" 2>&1 ;;
    where) timeout 150 "$node" bench/main.ts where --lanes 1,2,4,8,16 --rounds 3 --model "$smol" >"$out/where.txt" 2>&1 ;;
    crossover) timeout 130 "$node" bench/main.ts devices --rounds 2 --texts 1 >"$out/crossover.txt" 2>&1 ;;
    stories)
      for part in 0 1 2; do
        setsid nohup "$node" examples/pretrain/teach.ts "$smol" --stories "$texts/tinystories_1000.json" --out "$out/stories" --device webgpu \
          --count 300000 --part "$part/3" --seconds "${STORIES_SECONDS:-540}" >"$out/stories-$part.txt" 2>&1 &
        teachers+=("$!")
      done
      ;;
    pretrain)
      setsid nohup bash -c "for teacher in ${teachers[*]}; do tail -f /dev/null --pid=\$teacher; done
        cat '$out'/stories/stories-*.jsonl >'$out/stories/all.jsonl'
        exec '$node' examples/pretrain/main.ts --device webgpu --hidden 192 --layers 6 --tokens 8192 --steps ${PRETRAIN_STEPS:-20000} --save-every 250 \
          --evaluate-every 1000 --stories '$out/stories/all.jsonl' --held-out-stories '$out/stories/held-out.jsonl' --out '$out/pretrained'" >"$out/pretrain.txt" 2>&1 &
      ;;
    spri)
      # shellcheck disable=SC2086
      setsid nohup "$node" examples/spri-translation/main.ts "$smol" --train "$texts/train.tsv" --held-out "$texts/held-out.tsv" --out "$out/spri" \
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
