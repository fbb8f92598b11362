#!/bin/sh
# Installs what Keel builds with and draws with (experiments/packages.txt, or the list given) on Debian, if anything of
# it is missing.
set -eu
list=${1:-$(dirname "$0")/packages.txt}
command -v dpkg-query >/dev/null 2>&1 || {
    echo "install.sh: this is not a Debian system; please install these yourself:" >&2
    cat "$list" >&2
    exit 1
}
missing=
while read -r package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done <"$list"
[ -n "$missing" ] || exit 0
root=
[ "$(id -u)" = 0 ] || root=sudo
[ -z "$root" ] || command -v sudo >/dev/null 2>&1 || {
    echo "install.sh: there is no sudo; as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
}
echo "installing, which takes some minutes:$missing" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # one word per package
{
    $root apt-get update -qq && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
} >"$log" 2>&1 || {
    cat "$log" >&2
    exit 1
}
