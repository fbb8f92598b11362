#include "policies/tokens/byte_level.h"

#include <stdbool.h>
#include <utf8proc.h>

static bool is_itself(int c) {
    return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255);
}

/* How many bytes below this one do not stand for themselves. */
static int others_below(int byte) {
    return byte <= 33 ? byte : byte <= 127 ? 33 : byte <= 161 ? byte - 94 : 67;
}

size_t keel__byte_level_put(unsigned char byte, char out[3]) {
    const int c = is_itself(byte) ? byte : 0x100 + others_below(byte);
    const size_t n = (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)out);
    out[n] = '\0';
    return n;
}

static int byte_of(utf8proc_int32_t c) {
    if (c < 0x100) return is_itself(c) ? c : -1;
    const int n = c - 0x100;
    return n >= 68 ? -1 : n < 33 ? n : n < 67 ? n + 94 : 173;
}

ptrdiff_t keel__byte_level_get(const char *token, size_t length, char *out) {
    ptrdiff_t n = 0;
    for (size_t at = 0; at < length;) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t used =
            utf8proc_iterate((const utf8proc_uint8_t *)token + at, (utf8proc_ssize_t)(length - at), &c);
        const int byte = used > 0 ? byte_of(c) : -1;
        if (byte < 0) return -1;
        out[n++] = (char)byte;
        at += (size_t)used;
    }
    return n;
}
