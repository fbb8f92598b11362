#!/bin/sh
# The same as edge.sh of keel-decide for arm64, cross-compiled (without sanitizers, and little optimised) and run under qemu.
set -eu
skip() {
    echo "skipped: $1"
    exit 77
}
command -v aarch64-linux-gnu-gcc >/dev/null || skip "there is no aarch64-linux-gnu-gcc (gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)"
EMULATOR=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || skip "there is no qemu-aarch64 (qemu-user-static)"
build=$BUILD/aarch64
"$SOURCE/experiments/edge/arm64.sh" "$build/debian" >/dev/null 2>"$BUILD/arm64.log" || skip "Debian's arm64 packages could not be fetched: $(tail -n 1 "$BUILD/arm64.log")"
{
    cmake -S "$SOURCE" -B "$build" -G Ninja -DCMAKE_TOOLCHAIN_FILE="$SOURCE/experiments/edge/aarch64.cmake" -DKEEL_ARM64="$build/debian" \
        -DKEEL_EDGE_ONLY=ON -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O1 -DKEEL_WERROR=ON && cmake --build "$build"
} >"$build/build.log" 2>&1 || {
    tail -n 30 "$build/build.log"
    exit 1
}
EDGE=$build/experiments/edge/keel-decide EDGE_LIBRARY=$build/experiments/edge/libkeel_decide.a EMULATOR=$EMULATOR
EDGE_CC=aarch64-linux-gnu-gcc EDGE_CXX=aarch64-linux-gnu-g++ EDGE_LINK=-static
readelf -h "$EDGE" | grep -q 'Machine: *AArch64' || {
    echo "FAILED: it is a program for arm64"
    exit 1
}
unset SANITIZE
export EDGE EDGE_LIBRARY EMULATOR EDGE_CC EDGE_CXX EDGE_LINK
exec sh "$(dirname "$0")/edge.sh"
