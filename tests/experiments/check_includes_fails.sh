#!/bin/sh
# check_includes.sh can fail: a house with one include that points up, and one header that does not compile alone.
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
echo 'size_t lonely(void);' >"$work/core/lonely.h"
if "$here/check_includes.sh" "$work" >/dev/null 2>&1; then echo "a header that needs another passed"; exit 1; fi
