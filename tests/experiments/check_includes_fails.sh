#!/bin/sh
# check_includes.sh can fail: a house with one include that points up, one past a door, and one header that does not compile alone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in core datasets rewards envs policies rl experiments; do mkdir "$work/$folder"; done
echo 'typedef int ok;' >"$work/core/ok.h"
"$here/check_includes.sh" "$work" || { echo "a sound house was refused"; exit 1; }
echo '#include "rl/up.h"' >"$work/core/up.c"
echo 'typedef int up;' >"$work/rl/up.h"
if "$here/check_includes.sh" "$work" >/dev/null; then echo "an include that points up passed"; exit 1; fi
rm "$work/core/up.c"
mkdir "$work/policies/kind"
echo 'typedef int inner;' >"$work/policies/kind/inner.h"
echo 'typedef int rows;' >"$work/datasets/rows.h"
echo '#include "datasets/rows.h"' >"$work/policies/kind/kind.c"
if "$here/check_includes.sh" "$work" >/dev/null; then echo "a kind of base that includes datasets passed"; exit 1; fi
rm "$work/policies/kind/kind.c"
echo '#include "policies/kind/inner.h"' >"$work/rl/past.c"
if "$here/check_includes.sh" "$work" >/dev/null; then echo "an include past the door of a kind passed"; exit 1; fi
rm "$work/rl/past.c"
echo 'void *way(void) { return cJSON_Parse("{}"); }' >"$work/rl/way.c"
if "$here/check_includes.sh" "$work" >/dev/null; then echo "another way to read JSON passed"; exit 1; fi
rm "$work/rl/way.c"
echo 'size_t lonely(void);' >"$work/core/lonely.h"
if "$here/check_includes.sh" "$work" >/dev/null 2>&1; then echo "a header that needs another passed"; exit 1; fi
