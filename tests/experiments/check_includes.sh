#!/bin/sh
# The walls: a file includes only its own folder and lower floors; inside a folder, the arrows between its rooms point one
# way, and what a closed room holds is included through its door alone; every header compiles alone; JSON is read and printed
# in one way.
# With a folder as argument, checks the house that stands there.
set -eu
root=${1:-$(cd "$(dirname "$0")/../.." && pwd)}
cd "$root"
failed=0

# What each folder includes besides itself: no more than it needs.
below() {
    case $1 in
    core) ;;
    datasets | rewards | envs) echo core ;;
    policies) echo core datasets ;;
    rl) echo core datasets rewards envs policies ;;
    experiments) echo core datasets rewards envs policies rl ;;
    esac
}

# The rooms of a folder that a room includes.
inside() {
    case "$1 $2" in
    "rl/judge rl/learn" | "rl/train rl/learn" | "rl/train rl/judge") ;;
    "rl/learn rl/"* | "rl/judge rl/"* | "rl/train rl/"* | "rl/search rl/"*) [ "$1" = "$2" ] ;;
    esac
}

# A kind of base is a closed room, policies/NAME: it includes itself, core and the door policies/base.h with base_file.h, beside.h, corpus_pass.h, preference.h, soft_labels.h and soft_loss.h; of all
# other files only the table of kinds, the doors to models (policies/encoder.h, policies/decoder.h) and the benches include it.
# policies/compress makes models smaller: kinds include it, its door is policies/compress_base.h; prune_qnet in it is about policies, and
# experiments/compress_policy.c asks it. What a teacher says (policies/soft_labels.h, soft_loss.h) is for all kinds.
# policies/transformer holds models, which the kinds that stand on them include; policies/tokens, below it, holds tokenizers.
closed() {
    case "$1 $2" in
    "policies/"*/*" core/"* | "policies/"*/*" policies/base.h" | "policies/"*/*" policies/base_file.h" | "policies/"*/*" policies/beside.h" | "policies/"*/*" policies/corpus_pass.h" | "policies/"*/*" policies/preference.h" | "policies/"*/*" policies/soft_"*.h) ;;
    "policies/encoder_base/"*" policies/transformer/"* | "policies/encoder_base/"*" policies/tokens/"*) ;;
    "policies/decoder_base/"*" policies/transformer/"* | "policies/decoder_base/"*" policies/tokens/"*) ;;
    "policies/transformer/"*" policies/tokens/"*) ;;
    "policies/compress/"*" policies/transformer/"* | "policies/compress/"*" policies/tokens/"*) ;;
    "policies/"*"_base/"*" policies/soft_labels.h" | "policies/"*"_base/"*" policies/soft_loss.h") ;;
    "policies/compress/prune_qnet."*" policies/qnet.h" | "policies/compress/prune_qnet."*" policies/policy"*.h | "experiments/compress_policy.c policies/compress/prune_qnet.h") ;;
    "policies/"*"_base/"*" policies/compress/"* | "policies/compress_base."*" policies/compress/"*) ;;
    "policies/"*/*" "*) [ "$(dirname "$1")" = "$(dirname "$2")" ] ;;
    "policies/base_kinds.c policies/"*/* | "policies/encoder.c policies/transformer/"* | "policies/encoder_onnx.c policies/transformer/"* | "policies/decoder.c policies/transformer/"* | "policies/decoder.c policies/tokens/"* | "experiments/bench/"*" policies/"*/*) ;;
    *" policies/"*/*) false ;;
    esac
}

folders="core datasets rewards envs policies rl experiments"
for file in $(find $folders -name '*.[ch]' | sort); do
    folder=${file%%/*}
    for included in $(sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' "$file"); do
        other=${included%%/*}
        if [ ! -f "$included" ]; then
            echo "$file: \"$included\" is not a path from the top of the repository"
            failed=1
        elif [ "$other" != "$folder" ] && ! echo " $(below "$folder") " | grep -q " $other "; then
            echo "$file: includes $included, which $folder/ may not: it may include $(below "$folder")"
            failed=1
        elif ! closed "$file" "$included"; then
            echo "$file: includes $included, past the doors policies/base.h, policies/encoder.h and policies/decoder.h"
            failed=1
        elif [ "$other" = "$folder" ] && ! inside "$(dirname "$file")" "$(dirname "$included")"; then
            echo "$file: includes $included, against the arrows between the rooms of $folder/"
            failed=1
        fi
    done
done

# Our strict reader and our writer are the one way (core/json.h).
if grep -nE 'cJSON_(Parse|Print)' $(find $folders -name '*.[ch]'); then
    echo "JSON is read and printed by core/json.h alone"
    failed=1
fi

flags=$(pkg-config --cflags openblas sqlite3 libcjson zlib libzstd libutf8proc libpcre2-8)
for header in $(find $folders -name '*.h' | sort); do
    # shellcheck disable=SC2086 # one word per flag
    if ! "${CC:-cc}" -std=c17 -D_POSIX_C_SOURCE=200809L -I "$root" $flags -Wall -Wextra -Werror -fsyntax-only -include "$root/$header" -x c /dev/null; then
        echo "$header: does not compile alone"
        failed=1
    fi
done
exit $failed
