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
echo "installing:$missing" >&2
root=
[ "$(id -u)" = 0 ] || root=sudo
$root apt-get update -qq >&2
# shellcheck disable=SC2086 # one word per package
DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $missing >&2
