#!/bin/sh
# From a clone on a bare Debian to an evaluated policy: installs what is missing, builds, runs the quickstart recipe on
# simulated logs, prints the table of rates and says where report and program are. Arguments are handed to `keel run`.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
build=${KEEL_BUILD:-$here/build}
"$here/experiments/install.sh"
cmake -S "$here" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DKEEL_TESTS=OFF >/dev/null
cmake --build "$build" >&2
cd "$here"
"$build/experiments/keel" run experiments/recipes/quickstart.json --out runs/quickstart "$@"
echo "the program, for logs of your own: export PATH=\"$build/experiments:\$PATH\"; keel --help" >&2
