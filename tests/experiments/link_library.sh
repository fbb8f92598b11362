#!/bin/sh
# Programs outside the repository use an installed libkeel with <keel/keel.h> and pkg-config alone, in C and in C++,
# shared and static, or with CMake's find_package; every installed header compiles alone; and the shared library exports
# what keel.h declares. $INSTALLED is the prefix where it is installed; empty: it is installed here first.
. "$(dirname "$0")/program.sh"
CXX=${CXX:-c++}
export OPENBLAS_NUM_THREADS=1 # under valgrind: its threads never end

prefix=${INSTALLED:-}
if [ -z "$prefix" ]; then
    cmake --install "$BUILD" --prefix "$work/first" >/dev/null
    prefix=$work/prefix
    mv first prefix # keel.pc and keelConfig.cmake find the library wherever the prefix is moved to
    PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name keel.pc)")
    export PKG_CONFIG_PATH
fi
libraries=$(pkg-config --variable=libdir keel)
headers=$(pkg-config --variable=includedir keel)
# shellcheck disable=SC2046 # flags are words
compile() {
    language=$1
    shift
    case $language in
    c) $CC $SANITIZE -std=c17 -Wall -Wextra -Wpedantic -Werror -x c $(pkg-config --cflags keel) "$@" ;;
    c++) $CXX $SANITIZE -std=c++17 -Wall -Wextra -Wpedantic -Werror -x c++ $(pkg-config --cflags keel) "$@" ;;
    esac
}
languages=c
if command -v "$CXX" >/dev/null; then languages="c c++"; else echo "skipped: C++, because there is no $CXX"; fi

# ---- headers ----

for header in $(cd "$headers" && find keel -name '*.h'); do
    printf '#include <%s>\ntypedef int used;\n' "$header" >one.c
    for language in $languages; do
        compile "$language" -fsyntax-only one.c || fail "<$header> compiles alone in $language"
    done
done
[ -z "$(find "$headers/keel" -name '*_internal.h')" ] || fail "no internal header is installed"
! grep -rnE 'cJSON( \*|_)|cjson|sqlite3|cblas|keel__' "$headers/keel" || fail "headers name nothing of other libraries, nor internal functions"

if [ -n "${INSTALLED:-}" ] || [ -e "$BUILD/experiments/edge/libkeel_decide.a" ]; then
    [ -e "$headers/keel_decide.h" ] && [ -e "$libraries/libkeel_decide.a" ] && [ -x "$prefix/bin/keel-decide" ] || fail "keel-decide and its library are installed"
fi

# ---- exports ----

# Functions and variables that C code on stdin, preprocessed, declares at file scope.
declared() {
    awk '
        function judge(statement) {
            sub(/^ */, "", statement)
            if (statement ~ /^(typedef|static) / || statement !~ /\(|^extern /) return
            sub(/ *[([].*/, "", statement)
            sub(/.*[ *]/, "", statement)
            if (statement ~ /^keel_/) print statement
        }
        /^#/ { next }
        { text = text " " $0 }
        END {
            n = split(text, letter, "")
            for (i = 1; i <= n; i++) {
                c = letter[i]
                if (c == "{") depth++
                if (depth == 0 && c != ";") statement = statement c
                if (c == "}" && --depth == 0 && statement ~ /^ *static /) statement = ""
                if (c == ";" && depth == 0) { judge(statement); statement = "" }
            }
        }' | sort -u
}
echo '#include <keel/keel.h>' >all.c
compile c -E -P all.c | declared >declared.txt
nm -D --defined-only "$libraries/libkeel.so" | awk '$3 !~ /^_/ { print $3 }' | sort >exported.txt
[ "$(wc -l <declared.txt)" -gt 50 ] || fail "keel.h declares something: $(cat declared.txt)"
diff declared.txt exported.txt || fail "the library exports (>) what keel.h declares (<)"

# ---- a program ----

chat 40 en >log.jsonl
# shellcheck disable=SC2046,SC2086 # flags are words
works() {
    sentence=$1 language=$2
    shift 2
    compile "$language" "$SOURCE/experiments/examples/decide.c" -x none "$@" -o decide || { fail "$sentence links"; return; }
    mkdir made
    LD_LIBRARY_PATH=$libraries ./decide log.jsonl made >said.txt || fail "$sentence works"
    grep -q "here is what I know about train times" said.txt || fail "$sentence decides: $(cat said.txt)"
    rm -r made
}
for language in $languages; do
    works "a program in $language with the shared library" $language $(pkg-config --libs keel)
done
if [ -n "${SANITIZE:-}" ]; then
    echo "skipped: valgrind, because sanitizers watch already"
elif ! command -v valgrind >/dev/null; then
    echo "skipped: valgrind, which is not here"
else
    mkdir made
    # A kernel without fused multiply-adds, which valgrind works out in software, forty times as slowly.
    LD_LIBRARY_PATH=$libraries OPENBLAS_CORETYPE=Sandybridge valgrind -q --leak-check=full \
        --errors-for-leak-kinds=definite,indirect,possible --error-exitcode=9 ./decide log.jsonl made >said.txt 2>valgrind.txt ||
        fail "the program leaks nothing: $(cat valgrind.txt)"
    rm -r made
fi
# shellcheck disable=SC2046 # flags are words
works "a program with the static library" c $(pkg-config --static --libs keel | sed 's/-lkeel/-l:libkeel.a/')
! readelf -d decide | grep -q 'NEEDED.*libkeel' || fail "the static library is linked"

# ---- CMake ----

mkdir user
cp "$SOURCE/experiments/examples/decide.c" user/
cat >user/CMakeLists.txt <<END
cmake_minimum_required(VERSION 3.25)
project(user C)
find_package(keel $(pkg-config --modversion keel) EXACT REQUIRED)
add_executable(decide decide.c)
target_link_libraries(decide PRIVATE keel::keel)
END
{ cmake -S user -B user/build -DCMAKE_C_COMPILER="$CC" -DCMAKE_C_FLAGS="${SANITIZE:-}" -DCMAKE_PREFIX_PATH="$prefix" && cmake --build user/build; } >cmake.txt 2>&1 ||
    fail "a program is built with CMake: $(tail -n 20 cmake.txt)"
mkdir made
user/build/decide log.jsonl made >said.txt || fail "a program built with CMake works"
grep -q "here is what I know about train times" said.txt || fail "a program built with CMake decides: $(cat said.txt)"
sed -i 's/find_package(keel [0-9]*/find_package(keel 99/' user/CMakeLists.txt
! cmake -S user -B user/other -DCMAKE_C_COMPILER="$CC" -DCMAKE_PREFIX_PATH="$prefix" >cmake.txt 2>&1 || fail "another version is refused"
grep -q 'keelConfig.cmake, version:' cmake.txt || fail "and named: $(cat cmake.txt)"
finish
