#!/bin/sh
# One way of looking for mistakes at a time, each over everything; the last line says what was found, and so does the
# exit status. tests/run.sh does asan and the part of tsan that is quick every day.
#
#   tests/check.sh asan [CTEST ARGS]        AddressSanitizer, UndefinedBehaviorSanitizer
#   tests/check.sh tsan [CTEST ARGS]        ThreadSanitizer
#   tests/check.sh valgrind [CTEST ARGS]    memcheck, leaks included, of the tests and of every process they start
#   tests/check.sh compilers                gcc and clang: does the quickstart, made small, give the same weights and metrics?
#   tests/check.sh analyzer                 gcc -fanalyzer
#   tests/check.sh format                   clang-format 14: every C file is as .clang-format has it
#   tests/check.sh tidy [FILES]             clang-tidy, with what .clang-tidy says
#   tests/check.sh judge                    are the shipped judge and its words what their recipes make of KEEL_DATA? (a minute)
set -eu
. "$(dirname "$0")/steps.sh"
mode=${1:-}
[ $# = 0 ] || shift
build=${KEEL_BUILD:-$here/build-$mode}
status=0

# What valgrind does not run, and why; a line each.
left_out_of_valgrind() {
    cat <<'END'
check_includes          compiles headers, runs nothing of Keel
check_includes_fails    the same
link_library            runs its program under valgrind itself
END
}

valgrind_tested() {
    export VALGRIND_LOGS="$build/valgrind"
    # A kernel without fused multiply-adds: valgrind works those out in software, forty times as slowly.
    export OPENBLAS_CORETYPE=Sandybridge
    rm -rf "$VALGRIND_LOGS"
    mkdir -p -m 1777 "$VALGRIND_LOGS"
    built "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DKEEL_TEST_LAUNCHER="$here/tests/support/under_valgrind.sh" || return 1
    left_out_of_valgrind | sed 's/^/left out: /'
    tested "$build" -E "^($(left_out_of_valgrind | awk '{ printf "%s%s", separator, $1; separator = "|" }'))\$" "$@" || status=$?
    # Some tests kill a program or ignore how it ended: what valgrind said of it counts all the same.
    found=$(find "$VALGRIND_LOGS" -type f -size +0)
    [ -z "$found" ] || { cat $found; status=1; }
}

# What depends on the compiler: keel.json names it, and with its hash so do the results that name an artefact.
compilers_compared() {
    for compiler in gcc clang; do
        targets=keel built "$build/$compiler" -DCMAKE_C_COMPILER=$compiler -DCMAKE_BUILD_TYPE=Release --fresh || return 1
        rm -rf "$build/$compiler.out"
        mkdir "$build/$compiler.out"
        (cd "$build/$compiler.out" && "$build/$compiler/experiments/keel" run "$here/experiments/recipes/quickstart.json" --out run \
            --set simulate.episodes=400 --quiet >run.txt && find run -name '*.safetensors' -o -name config.json -o -name '*.jsonl' |
            LC_ALL=C sort | xargs sha256sum >bytes.txt) || return 1
    done
    diff "$build/gcc.out/bytes.txt" "$build/clang.out/bytes.txt" || return 1
    echo "compilers: $(wc -l <"$build/gcc.out/bytes.txt") files, the same bytes"
}

# Warnings of LOG, each once, and how many.
judged() {
    grep -E '(warning|error):' "$1" | sort -u | sed "s|^$here/||" || true
    n=$(grep -E '(warning|error):' "$1" | sort -u | wc -l)
    echo "$mode: $n findings"
    [ "$n" = 0 ] || exit 1
    exit "$status"
}

# Other versions of clang-format break lines elsewhere, so nothing is said with them (77: skipped).
formatted() {
    version=$(clang-format --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p')
    [ "$version" = 14 ] || { echo "format: needs clang-format 14, found ${version:-none}"; exit 77; }
    (cd "$here" && find . -name 'build*' -prune -o -name runs -prune -o -name '*.[ch]' -print | LC_ALL=C sort >"$1" &&
        xargs clang-format --dry-run -Werror <"$1" 2>&1 | grep -E ' error: ' | cut -d: -f1 | sort | uniq -c >"$1.wrong") || true
    [ -s "$1" ] && [ ! -s "$1.wrong" ] || { cat "$1.wrong"; echo "format: clang-format -i on these"; return 1; }
    echo "format: $(wc -l <"$1") files, clang-format $version"
}

# rewards/judges/README.md says how they are made: the same bytes on any machine. 77: skipped.
judge_made_again() {
    for set in xstest refusalbench k-overrefusal hh-rlhf; do
        [ -d "${KEEL_DATA:-}/$set" ] || { echo "judge: skipped: set KEEL_DATA to the folder that holds $set"; exit 77; }
    done
    targets=bench_judge built "$build" -DCMAKE_BUILD_TYPE=Release || return 1
    recipes=$here/experiments/recipes shipped=$here/rewards/judges
    python3 "$recipes/judge_words.py" "$KEEL_DATA" >"$build/words.bin" || return 1
    cmp "$build/words.bin" "$shipped/words.bin" || return 1
    python3 "$recipes/judge_logs.py" "$KEEL_DATA" >"$build/judge.jsonl" || return 1
    "$build/experiments/bench_judge" teach "$build/judge.jsonl" "$build/refusal.safetensors" || return 1
    cmp "$build/refusal.safetensors" "$shipped/refusal.safetensors" || return 1
    echo "judge: words.bin and refusal.safetensors, the same bytes"
}

flags="-I$here -include $here/tests/support/analysis.h -Wno-unused-value"
case $mode in
asan)
    built "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DKEEL_SANITIZE=ON
    tested "$build" "$@" || status=$?
    finished "$status" "$build"
    ;;
tsan)
    threads_tested "$build" "" "$@" || status=$?
    finished "$status" "$build"
    ;;
valgrind)
    valgrind_tested "$@" || status=$?
    finished "$status" "$build"
    ;;
compilers)
    compilers_compared
    ;;
analyzer)
    built "$build" -DCMAKE_C_COMPILER=gcc -DCMAKE_BUILD_TYPE=Release -DKEEL_TESTS=OFF -DCMAKE_C_FLAGS="-fanalyzer $flags" --fresh || status=$?
    judged "$build/build.log"
    ;;
format)
    list=$(mktemp)
    formatted "$list" || status=$?
    rm -f "$list" "$list.wrong"
    exit "$status"
    ;;
judge)
    judge_made_again || status=$?
    exit "$status"
    ;;
tidy)
    built "$build" -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug --fresh || exit 1
    [ $# -gt 0 ] || set -- $(cd "$here" && git ls-files '*.c' | grep -v '^tests/')
    (cd "$here" && printf '%s\n' "$@" | xargs -P "$(nproc)" -n 4 clang-tidy -p "$build" --quiet --extra-arg="-I$here" \
        --extra-arg=-include --extra-arg="$here/tests/support/analysis.h" --extra-arg=-Wno-unused-value) \
        >"$build/tidy.log" 2>"$build/tidy.err" || status=$?
    judged "$build/tidy.log"
    ;;
*)
    sed -n '/^#   tests/s/^#   //p' "$0" >&2
    exit 2
    ;;
esac
