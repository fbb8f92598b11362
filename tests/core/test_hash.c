#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/hash.h"

static void expect_sha256(const char *message, size_t length, size_t step, const char *expected) {
    keel_sha256 hash;
    char hex[65];
    keel_sha256_init(&hash);
    for (size_t at = 0; at < length; at += step)
        keel_sha256_add(&hash, message + at, length - at < step ? length - at : step);
    keel_sha256_hex(&hash, hex);
    assert_string_equal(hex, expected);
}

/* FIPS 180-4 example values (NIST, Cryptographic Standards and Guidelines: SHA256.pdf; the million letters a
 * from FIPS 180-2 appendix B.3). */
static void sha256_gives_the_published_digests(void **state) {
    (void)state;
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    expect_sha256("", 0, 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_sha256("abc", 3, 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_sha256(two_blocks, 56, 56, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    expect_sha256(two_blocks, 56, 5, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    static char million[1000000];
    memset(million, 'a', sizeof million);
    const char *expected = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
    expect_sha256(million, sizeof million, sizeof million, expected);
    expect_sha256(million, sizeof million, 63, expected);
}

static void the_cut_of_the_input_does_not_matter_at_any_length(void **state) {
    (void)state;
    char message[200], whole[65], cut[65];
    for (size_t i = 0; i < sizeof message; ++i) message[i] = (char)(i * 7);
    for (size_t length = 0; length <= sizeof message; ++length) {
        keel_sha256 one, two;
        keel_sha256_init(&one), keel_sha256_init(&two);
        keel_sha256_add(&one, message, length);
        keel_sha256_add(&two, message, length / 3);
        keel_sha256_add(&two, message + length / 3, length - length / 3);
        keel_sha256_hex(&one, whole), keel_sha256_hex(&two, cut);
        assert_string_equal(whole, cut);
    }
}

static void the_processors_own_instructions_agree_with_the_plain_rounds(void **state) {
    (void)state;
    unsigned char blocks[64 * 33];
    uint64_t next = 1;
    for (size_t i = 0; i < sizeof blocks; i++)
        blocks[i] = (unsigned char)((next = keel_hash64_mix(next, i)) >> 17);
    for (size_t count = 0; count <= 33; count++) {
        keel_sha256 hash, twin;
        keel_sha256_init(&hash), keel_sha256_init(&twin);
        keel_sha256_add(&hash, blocks, 64 * count);
        keel__sha256_plain(twin.state, blocks, count);
        assert_memory_equal(hash.state, twin.state, sizeof twin.state);
    }
}

static void digest_of_texts(const char *a, const char *b, char hex[65]) {
    keel_sha256 hash;
    keel_sha256_init(&hash);
    keel_sha256_add_text(&hash, a);
    keel_sha256_add_text(&hash, b);
    keel_sha256_hex(&hash, hex);
}

static void texts_are_told_apart_by_their_bounds_and_absence(void **state) {
    (void)state;
    char one[65], two[65];
    digest_of_texts("ab", "c", one), digest_of_texts("a", "bc", two);
    assert_string_not_equal(one, two);
    digest_of_texts(NULL, "a", one), digest_of_texts("", "a", two);
    assert_string_not_equal(one, two);
    digest_of_texts(NULL, "a", two);
    assert_string_equal(one, two);
}

static void the_fast_hash_spreads_and_depends_on_seed_and_order(void **state) {
    (void)state;
    enum { KEYS = 4096, BUCKETS = 64 };
    size_t buckets[BUCKETS] = {0};
    for (uint32_t key = 0; key < KEYS; ++key) buckets[keel_hash64(&key, sizeof key, 0) % BUCKETS]++;
    for (size_t i = 0; i < BUCKETS; ++i) assert_in_range(buckets[i], 28, 104); /* 64 +- 5 sigma */
    assert_true(keel_hash64("keel", 4, 0) != keel_hash64("keel", 4, 1));
    assert_true(keel_hash64("keel", 4, 0) != keel_hash64("kele", 4, 0));
    assert_true(keel_hash64_mix(1, 2) != keel_hash64_mix(2, 1));
    assert_true(keel_hash64_mix(0, 0) != 0);
}

/* Bases of stored models are keyed by this hash: its values are part of the file format. */
static void the_fast_hash_never_changes(void **state) {
    (void)state;
    /* FNV-1a of "a" is af63dc4c8601ec8c (Fowler, Noll, Vo); what follows is the final mix. */
    uint64_t h = 0xaf63dc4c8601ec8cu;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    assert_true(keel_hash64("a", 1, 0) == (h ^ h >> 33));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_published_digests),
        cmocka_unit_test(the_processors_own_instructions_agree_with_the_plain_rounds),
        cmocka_unit_test(the_cut_of_the_input_does_not_matter_at_any_length),
        cmocka_unit_test(texts_are_told_apart_by_their_bounds_and_absence),
        cmocka_unit_test(the_fast_hash_spreads_and_depends_on_seed_and_order),
        cmocka_unit_test(the_fast_hash_never_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
