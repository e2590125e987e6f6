#!/usr/bin/env bash
# Unpacks on the machine with a GPU what bench/campaign/pack.sh has packed there, into a copy of this tree, which what is sent again does not touch:
#
#   bash bench/campaign/unpack.sh PIECES COPY        PIECES: the folder where the files of all pieces are
#
# It fails where a piece is missing or torn. A driver for Vulkan gets its loaders; VK_DRIVER_FILES names it where it is not found by itself.
set -euo pipefail
pieces=$(realpath "$1")
(cd "$pieces" && sha256sum --quiet -c all.sha256)
mkdir -p "$2"
tar -C "$(dirname "$0")/../.." -cf - --exclude=./.git . | tar -C "$2" -xf -
cat "$pieces"/all.?? | xz -dc | tar -C "$2" -xf -
for file in "$2"/driver/*.deb; do dpkg -x "$file" /; done
ldconfig
"$2/node" --version
