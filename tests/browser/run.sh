#!/bin/sh
# Pages in a real browser: headless Chromium, driven by Playwright, judged by axe-core. Runs every *.test.mjs of this folder,
# or those that are named:
#   tests/browser/run.sh [BUILD] [report.test.mjs ...]
# BUILD is the build folder (default: build). Node's modules go to a folder of their own, KEEL_BROWSER_MODULES
# (default: keel-browser in the temporary folder), never into the repository; screenshots go there too.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-$here/../../build}" && pwd)
[ $# -eq 0 ] || shift
modules=${KEEL_BROWSER_MODULES:-${TMPDIR:-/tmp}/keel-browser}

for program in chromium node npm gnuplot; do
    command -v "$program" >/dev/null && continue
    echo "browser tests: installing $program" >&2
    apt-get install -y -qq --no-install-recommends "$program" >/dev/null
done
mkdir -p "$modules/shots"
if [ ! -d "$modules/node_modules/axe-core" ] || [ ! -d "$modules/node_modules/playwright-core" ]; then
    (cd "$modules" && echo '{"private": true}' >package.json && npm install --silent playwright-core@1 axe-core@4)
fi

export KEEL="$build/experiments/keel" KEEL_BROWSER_MODULES="$modules" KEEL_BROWSER_SHOTS="$modules/shots"
[ -x "$KEEL" ] || { echo "browser tests: $KEEL is not built" >&2; exit 1; }
failed=0
[ $# -gt 0 ] || set -- $(cd "$here" && ls -- *.test.mjs)
for test in "$@"; do
    echo "== $test"
    node "$here/$test" || failed=1
done
exit $failed
