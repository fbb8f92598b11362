#!/bin/sh
# Makes the Debian packages of the commit that is checked out, twice, and says whether both times gave the same bytes,
# whether lintian is content, and whether the installed packages pass their tests (docs/releasing.md):
#
#   debian/release.sh FOLDER    as root, on Debian; FOLDER/one has the packages at the end
#
# $KEEL_RECIPES are recipes that the installed program runs too ("simulator xstest"), with the data of $KEEL_DATA.
# $KEEL_CASES is a folder with a script run.sh: it is given the installed program, and what it prints is kept.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
if [ $# != 1 ] || [ "$(id -u)" != 0 ]; then
    echo "usage: debian/release.sh FOLDER, as root" >&2
    exit 2
fi
# What is mounted below is seen by this script alone.
[ -n "${KEEL_RELEASE_MOUNTS:-}" ] || KEEL_RELEASE_MOUNTS=own exec unshare --mount "$0" "$1"
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$here"
git diff --quiet HEAD || echo "release.sh: what is not committed is left out" >&2
commit=$(git rev-parse HEAD)
version=$(dpkg-parsechangelog -S Version) processor=$(dpkg --print-architecture)

say() { echo "---- $*"; }

# inside FOLDER COMMAND...: runs a command in the Debian of that folder.
inside() {
    root=$1
    shift
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 nice chroot "$root" "$@"
}

# debian FOLDER VARIANT: a Debian 12 there, which has what every process expects.
debian() {
    [ -d "$1" ] || mmdebstrap --quiet --variant="$2" --include=ca-certificates bookworm "$1"
    mount --rbind /dev "$1/dev"
    mount -t proc proc "$1/proc"
    cp /etc/resolv.conf "$1/etc/resolv.conf"
}

# build NAME PLACE MASK VARIABLES...: the packages into $out/NAME, built in the folder PLACE.
build() {
    name=$1 place=$2 mask=$3
    shift 3
    say "build $name"
    rm -rf "$out/build$place" "${out:?}/$name"
    mkdir -p "$out/build$place/keel" "$out/$name"
    git archive "$commit" | tar -x -C "$out/build$place/keel"
    inside "$out/build" sh -c 'umask "$1"; cd "$2/keel"; shift 2; exec env "$@" dpkg-buildpackage -us -uc' sh "$mask" "$place" "$@" >"$out/$name.log" 2>&1 || {
        tail -n 40 "$out/$name.log"
        exit 1
    }
    find "$out/build$place" -maxdepth 1 -type f -exec mv {} "$out/$name" ';'
}

experiments/install.sh debian/packages.txt
say "keel $version, $(git describe --always --tags "$commit")"
debian "$out/build" buildd
rm -rf "$out/build/srv/keel"
mkdir -p "$out/build/srv/keel"
git archive "$commit" debian | tar -x -C "$out/build/srv/keel"
inside "$out/build" sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends faketime locales-all && cd /srv/keel && apt-get build-dep -y -qq --no-install-recommends ./' >"$out/build.log" 2>&1 || {
    tail -n 20 "$out/build.log"
    exit 1
}
# Another folder, time, zone, language, home, number of processes, rights of new files; with and without tests.
build one /srv/one 022 DEB_BUILD_OPTIONS="parallel=$(nproc)"
build other /var/tmp/an/other/place 002 DEB_BUILD_OPTIONS="nocheck parallel=$(($(nproc) + 1))" LC_ALL=tr_TR.UTF-8 TZ=Pacific/Kiritimati HOME=/nonexistent \
    faketime -f +400d

say "the same bytes"
(cd "$out/one" && sha256sum ./*.deb ./*.dsc ./*.tar.*) | tee "$out/sha256.txt"
(cd "$out/other" && sha256sum --check --quiet "$out/sha256.txt")

say "lintian"
lintian --version
lintian --allow-root --fail-on error,warning "$out/one/keel_${version}_$processor.changes"

say "debian/tests on the installed packages"
rm -rf "$out/tests"
debian "$out/installed" apt
inside "$out/installed" apt-get update -qq
code=0
autopkgtest --output-dir "$out/tests" "$out/one/keel_${version}_$processor.changes" -- chroot "$out/installed" >"$out/tests.log" 2>&1 || code=$?
cat "$out/tests/summary"
[ $code = 0 ] || exit $code

keep() { mkdir -p "$out/installed/srv/$1" && mount --bind -o ro "$2" "$out/installed/srv/$1"; }
[ -z "${KEEL_DATA:-}" ] || keep data "$KEEL_DATA"
for recipe in ${KEEL_RECIPES:-}; do
    say "recipe $recipe"
    inside "$out/installed" keel run "/usr/share/doc/keel/examples/recipes/$recipe.json" --data /srv/data --out "/srv/runs/$recipe" --quiet | tee "$out/$recipe.txt"
done
if [ -n "${KEEL_CASES:-}" ]; then
    say "cases"
    keep cases "$KEEL_CASES"
    inside "$out/installed" apt-get install -y -qq --no-install-recommends python3 sqlite3 >/dev/null 2>&1 # which cases may use
    inside "$out/installed" bash /srv/cases/run.sh /usr/bin/keel >"$out/cases.txt" 2>&1
    grep -c '^==' "$out/cases.txt"
fi
say "done"
