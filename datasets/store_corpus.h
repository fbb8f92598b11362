/* A split of a store as a corpus. The store is read through once when the corpus is opened: for its counts,
 * its content hash and the order by name. */
#ifndef KEEL_DATASETS_STORE_CORPUS_H
#define KEEL_DATASETS_STORE_CORPUS_H

#include "core/corpus.h"
#include "datasets/store.h"

/* memory: conversations are kept from that first pass up to so many bytes, until the corpus is told to forget
 * them. Store and split are borrowed until close. */
keel_status keel_store_corpus_open(keel_corpus **out, keel_store *store, const keel_split *split,
                                   size_t memory, keel_err *err);
void keel_store_corpus_close(keel_corpus *corpus); /* NULL is harmless */

#endif
