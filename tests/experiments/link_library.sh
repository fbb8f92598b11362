#!/bin/sh
# A program outside the repository links against an installed libkeel, shared and static, with what pkg-config says.
. "$(dirname "$0")/program.sh"

cmake --install "$BUILD" --prefix "$work/first" >/dev/null
mv first prefix # keel.pc finds its libraries wherever the prefix is moved to
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name keel.pc)")
export PKG_CONFIG_PATH
libraries=$(pkg-config --variable=libdir keel)
cat >program.c <<'END'
#include <stdio.h>
#include "datasets/store.h"
#include "rl/train/train.h"

/* Names something of the highest floor, so that everything below it is linked. */
int main(void) {
    keel_err err = {0};
    keel_store *store = NULL;
    keel_status (*train)(keel_store *, const keel_split *, const keel_base *, const keel_learner_config *, const char *,
                         const char *, keel_pool *, keel_err *) = keel_train;
    return train != NULL && keel_store_open(&store, "none.db", KEEL_STORE_READ, &err) != KEEL_OK ? 0 : 1;
}
END
# shellcheck disable=SC2046,SC2086 # flags are words
links() {
    sentence=$1
    shift
    $CC $SANITIZE program.c $(pkg-config --cflags keel) "$@" -o program 2>err.txt || { fail "$sentence: $(cat err.txt)"; return; }
    LD_LIBRARY_PATH=$libraries ./program || fail "$sentence: the program runs"
}
links "the shared library" $(pkg-config --libs keel)
rm "$libraries"/libkeel.so*
links "the static library" $(pkg-config --static --libs keel)
finish
