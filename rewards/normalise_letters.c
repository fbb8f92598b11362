/* What characters may stand for, by their shape alone: letters of other scripts that are drawn as Latin ones,
 * Latin letters with accents and strokes, small capitals, turned letters, digits and signs. Shapes are those
 * before folding, so that a letter whose capital looks otherwise than its small form may stand for two. */
#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "rewards/normalise_internal.h"
#include "rewards/words.h"

/* Folded code points, ascending. A small letter: fonts draw the two alike. A capital: it takes some good
 * will, so only a word tells. */
typedef struct shape {
    uint16_t point;
    char options[4];
} shape;

/* clang-format off */
static const shape shapes[] = {
    {0x00F8, "O"}, {0x0111, "D"}, {0x0127, "H"}, {0x0131, "i"}, {0x0142, "L"}, {0x0167, "T"}, {0x0180, "B"},
    {0x0237, "j"}, {0x0250, "A"}, {0x0251, "a"}, {0x0253, "B"}, {0x0254, "C"}, {0x0256, "D"}, {0x0257, "D"},
    {0x0259, "AE"}, {0x025B, "e"}, {0x0260, "G"}, {0x0261, "g"}, {0x0262, "g"}, {0x0265, "H"}, {0x0266, "H"},
    {0x0268, "I"}, {0x0269, "i"}, {0x026A, "i"}, {0x026B, "L"}, {0x026F, "MW"}, {0x0271, "M"}, {0x0272, "N"},
    {0x0274, "n"}, {0x0275, "EO"}, {0x0279, "R"}, {0x027E, "IR"}, {0x0280, "r"}, {0x0282, "S"}, {0x0287, "T"},
    {0x0288, "T"}, {0x0289, "U"}, {0x028B, "V"}, {0x028C, "AV"}, {0x028D, "M"}, {0x028E, "Y"}, {0x028F, "y"},
    {0x0299, "b"}, {0x029C, "h"}, {0x029E, "K"}, {0x029F, "l"}, {0x03B1, "a"}, {0x03B2, "b"}, {0x03B3, "yR"},
    {0x03B4, "D"}, {0x03B5, "e"}, {0x03B6, "z"}, {0x03B7, "nH"}, {0x03B8, "O"}, {0x03B9, "i"}, {0x03BA, "k"},
    {0x03BB, "A"}, {0x03BC, "MU"}, {0x03BD, "vN"}, {0x03BF, "o"}, {0x03C0, "N"}, {0x03C1, "p"}, {0x03C3, "coS"},
    {0x03C4, "t"}, {0x03C5, "uVY"}, {0x03C7, "x"}, {0x03C9, "w"}, {0x03DD, "f"}, {0x03F3, "j"}, {0x0430, "a"},
    {0x0432, "b"}, {0x0433, "r"}, {0x0434, "AD"}, {0x0435, "e"}, {0x0436, "X"}, {0x0437, "EZ"}, {0x0438, "LNU"},
    {0x0439, "NU"}, {0x043A, "k"}, {0x043B, "LN"}, {0x043C, "m"}, {0x043D, "hN"}, {0x043E, "o"}, {0x043F, "n"},
    {0x0440, "p"}, {0x0441, "c"}, {0x0442, "t"}, {0x0443, "y"}, {0x0444, "O"}, {0x0445, "x"}, {0x0446, "u"},
    {0x0447, "Y"}, {0x0448, "w"}, {0x0449, "w"}, {0x044A, "b"}, {0x044C, "b"}, {0x044D, "E"}, {0x044F, "AR"},
    {0x0450, "E"}, {0x0451, "e"}, {0x0452, "H"}, {0x0454, "e"}, {0x0455, "s"}, {0x0456, "i"}, {0x0457, "i"},
    {0x0458, "j"}, {0x045B, "h"}, {0x045E, "y"}, {0x0461, "w"}, {0x0475, "v"}, {0x048F, "p"}, {0x0491, "r"},
    {0x0493, "fE"}, {0x049B, "k"}, {0x049D, "k"}, {0x04A3, "h"}, {0x04A5, "h"}, {0x04AF, "y"}, {0x04B1, "y"},
    {0x04B3, "x"}, {0x04BB, "h"}, {0x04BD, "e"}, {0x04CF, "l"}, {0x04E7, "o"}, {0x04E9, "o"}, {0x0501, "d"},
    {0x050D, "g"}, {0x051B, "q"}, {0x051D, "w"}, {0x0561, "aw"}, {0x0566, "q"}, {0x056A, "d"}, {0x056C, "l"},
    {0x0570, "h"}, {0x0572, "N"}, {0x0575, "j"}, {0x0578, "n"}, {0x057D, "u"}, {0x0581, "g"}, {0x0584, "f"},
    {0x0585, "o"}, {0x13A0, "d"}, {0x13A1, "r"}, {0x13A2, "t"}, {0x13A5, "i"}, {0x13A9, "y"}, {0x13AA, "a"},
    {0x13AB, "j"}, {0x13AC, "e"}, {0x13B7, "m"}, {0x13BB, "h"}, {0x13C0, "g"}, {0x13C3, "z"}, {0x13D4, "w"},
    {0x13D9, "v"}, {0x13DA, "s"}, {0x13DE, "l"}, {0x13DF, "c"}, {0x13E2, "p"}, {0x13E6, "k"}, {0x13F4, "b"},
    {0x1D00, "a"}, {0x1D04, "c"}, {0x1D05, "d"}, {0x1D07, "e"}, {0x1D09, "I"}, {0x1D0A, "j"}, {0x1D0B, "k"},
    {0x1D0D, "m"}, {0x1D0F, "o"}, {0x1D18, "p"}, {0x1D1B, "t"}, {0x1D1C, "u"}, {0x1D20, "v"}, {0x1D21, "w"},
    {0x1D22, "z"}, {0x212E, "e"}, {0x2C81, "a"}, {0x2C83, "b"}, {0x2C89, "C"}, {0x2C8F, "h"}, {0x2C93, "i"},
    {0x2C95, "k"}, {0x2C99, "m"}, {0x2C9B, "n"}, {0x2C9F, "o"}, {0x2CA3, "p"}, {0x2CA5, "c"}, {0x2CA7, "t"},
    {0x2CA9, "y"}, {0x2CAD, "x"}, {0xA4D0, "b"}, {0xA4D1, "p"}, {0xA4D3, "d"}, {0xA4D4, "t"}, {0xA4D6, "g"},
    {0xA4D7, "k"}, {0xA4D9, "j"}, {0xA4DA, "c"}, {0xA4DC, "z"}, {0xA4DD, "f"}, {0xA4DF, "m"}, {0xA4E0, "n"},
    {0xA4E1, "l"}, {0xA4E2, "s"}, {0xA4E3, "r"}, {0xA4E6, "v"}, {0xA4E7, "h"}, {0xA4EA, "w"}, {0xA4EB, "x"},
    {0xA4EC, "y"}, {0xA4EE, "a"}, {0xA4F0, "e"}, {0xA4F2, "i"}, {0xA4F3, "o"}, {0xA4F4, "u"}, {0xA730, "f"},
    {0xA731, "s"}, {0xA787, "c"}, {0xA7AF, "q"}, {0xAB70, "d"}, {0xAB71, "r"}, {0xAB72, "t"}, {0xAB75, "i"},
    {0xAB79, "y"}, {0xAB7A, "a"}, {0xAB7B, "j"}, {0xAB7C, "e"}, {0xAB87, "m"}, {0xAB8B, "h"}, {0xAB90, "g"},
    {0xAB93, "z"}, {0xABA4, "w"}, {0xABA9, "v"}, {0xABAA, "s"}, {0xABAE, "l"}, {0xABAF, "c"}, {0xABB2, "p"},
    {0xABB6, "k"},
};
/* clang-format on */

/* Digits and signs, and what they look like. */
static const shape signs[] = {{'0', "o"},  {'1', "il"}, {'2', "z"},  {'3', "e"},   {'4', "a"}, {'5', "s"},
                              {'6', "gb"}, {'7', "t"},  {'8', "b"},  {'9', "gq"},  {'@', "a"}, {'$', "s"},
                              {'!', "il"}, {'|', "li"}, {'+', "t"},  {'(', "c"},   {'<', "c"}, {'#', "h"},
                              {0xA2, "c"}, {0xA3, "l"}, {0xA5, "y"}, {0x20AC, "e"}};

static const char *shape_of(utf8proc_int32_t point) {
    size_t low = 0, high = sizeof shapes / sizeof *shapes;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (shapes[middle].point == point) return shapes[middle].options;
        if (shapes[middle].point < point)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static const char *sign_of(utf8proc_int32_t point) {
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (signs[i].point == point) return signs[i].options;
    return NULL;
}

/* A to Z in white on black and as parts of flags, which folding leaves: 0 for anything else. */
static char emblem_of(utf8proc_int32_t point) {
    static const utf8proc_int32_t first[] = {0x1F150, 0x1F170, 0x1F1E6};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        if (point >= first[i] && point < first[i] + 26) return (char)('a' + point - first[i]);
    return 0;
}

/* Letters of Latin as languages write them. */
static bool is_latin(utf8proc_int32_t point) {
    return point < 0x250 || (point >= 0x1E00 && point < 0x1F00);
}

/* The letter under the accents, if it is one of a to z. */
static char base_of(utf8proc_int32_t point) {
    utf8proc_int32_t parts[8];
    int class = 0;
    const utf8proc_ssize_t n = utf8proc_decompose_char(point, parts, 8, UTF8PROC_DECOMPOSE, &class);
    return n > 1 && n <= 8 && parts[0] >= 'a' && parts[0] <= 'z' ? (char)parts[0] : 0;
}

static bool is_letter(utf8proc_int32_t point) {
    const utf8proc_category_t category = utf8proc_category(point);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_ME;
}

static void read_options(keel__letter *letter, const char *options) {
    size_t n = 0;
    for (; n < 3 && options[n]; n++) letter->options[n] = (char)(options[n] | 32);
    letter->options[n] = '\0';
}

static keel__letter beyond_ascii(utf8proc_int32_t point, size_t bytes) {
    keel__letter letter = {.bytes = bytes};
    const char *options = shape_of(point), *sign = sign_of(point), emblem = emblem_of(point);
    const char base[2] = {options || emblem ? emblem : base_of(point), '\0'};
    if (options || *base || sign) read_options(&letter, options ? options : *base ? base : sign);
    if (sign)
        letter.kind = KEEL__SIGN;
    else if (options && !is_latin(point) && *options >= 'a')
        letter.kind = KEEL__ALIKE;
    else if (is_letter(point) || options || emblem)
        letter.kind = is_latin(point) || emblem ? KEEL__LATIN : KEEL__OTHER;
    return letter;
}

keel__letter keel__letter_at(const char *text, const char *end) {
    const char c = *text;
    if (c >= 'a' && c <= 'z') return (keel__letter){KEEL__PLAIN, 1, {c}};
    if (c == '\'') return (keel__letter){KEEL__APOSTROPHE, 1, {c}};
    if ((signed char)c > 0) {
        keel__letter letter = {.bytes = 1};
        const char *options = sign_of(c);
        if (options) read_options(&letter, options);
        if (options) letter.kind = c >= '0' && c <= '9' ? KEEL__DIGIT : KEEL__SIGN;
        return letter;
    }
    utf8proc_int32_t point;
    const utf8proc_ssize_t bytes = utf8proc_iterate((const utf8proc_uint8_t *)text, end - text, &point);
    return bytes > 0 ? beyond_ascii(point, (size_t)bytes) : (keel__letter){.bytes = 1};
}

size_t keel__letter_in_script(char plain, const char *of, const char *end, char out[4]) {
    enum { BLOCK = 0x90 /* code points: the letters of one script are no farther from each other */ };
    utf8proc_int32_t point, best = 0, nearest = BLOCK;
    if (utf8proc_iterate((const utf8proc_uint8_t *)of, end - of, &point) <= 0) return 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const utf8proc_int32_t apart =
            shapes[i].point < point ? point - shapes[i].point : shapes[i].point - point;
        if (*shapes[i].options != plain || is_latin(shapes[i].point) || apart >= nearest) continue;
        best = shapes[i].point;
        nearest = apart;
    }
    return best ? (size_t)utf8proc_encode_char(best, (utf8proc_uint8_t *)out) : 0;
}

/* ---- reading ---- */

/* One way to read the letters, by the digits of a number whose base changes from letter to letter. */
static size_t write_way(char (*options)[4], size_t count, size_t way, char *out) {
    for (size_t i = 0; i < count; i++) {
        const size_t n = strlen(options[i]);
        out[i] = options[i][way % n];
        way /= n;
    }
    return count;
}

size_t keel__letters_read(const char *text, size_t length, char out[KEEL__WORD_ROOM], int *cost) {
    enum { MOST_WAYS = 128 };
    char options[KEEL__WORD_ROOM][4], tried[KEEL__WORD_ROOM];
    size_t count = 0, ways = 1;
    const char *const end = text + length;
    *cost = KEEL_WORD_UNKNOWN;
    for (keel__letter letter; text < end; text += letter.bytes) {
        letter = keel__letter_at(text, end);
        if (!*letter.options) continue;
        if (count == KEEL__WORD_ROOM) return 0;
        const size_t n = strlen(letter.options);
        if (ways * n > MOST_WAYS) letter.options[1] = '\0';
        ways *= strlen(letter.options);
        memcpy(options[count++], letter.options, 4);
    }
    write_way(options, count, 0, out);
    for (size_t way = 0; way < ways && count > 0; way++) {
        const int found = keel_word_cost(tried, write_way(options, count, way, tried));
        if (found >= *cost) continue;
        *cost = found;
        memcpy(out, tried, count);
    }
    return count;
}
