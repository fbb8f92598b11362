/* Products in whole numbers with AVX-512-VNNI and AVX2. */
#include "core/panels_whole.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define INLINE(isa) __attribute__((always_inline, target(isa))) static inline
#define UNROLL      KEEL__UNROLL
#define VNNI        "avx512f,avx512bw,avx512vl,avx512vnni"
#define AVX2        "avx2,fma,f16c"

enum { BLOCK = KEEL_MATRIX_BLOCK, ROWS = KEEL__WHOLE_ROWS, COLS = KEEL__WHOLE_COLS };

static inline int32_t four_at(const uint8_t *q) {
    int32_t four;
    memcpy(&four, q, sizeof four);
    return four;
}

/* ---- weights made bytes ---- */

/* step (q - 8) for q = 0 .. 15, and 128 more. */
static const uint8_t stepped[16][16] __attribute__((aligned(16))) = {
#define STEP(s)                                                                                              \
    {                                                                                                        \
        128 - 8 * (s), 128 - 7 * (s), 128 - 6 * (s), 128 - 5 * (s), 128 - 4 * (s), 128 - 3 * (s),            \
            128 - 2 * (s), 128 - (s), 128, 128 + (s), 128 + 2 * (s), 128 + 3 * (s), 128 + 4 * (s),           \
            128 + 5 * (s), 128 + 6 * (s), 128 + 7 * (s)                                                      \
    }
    STEP(0), STEP(1),  STEP(2),  STEP(3),  STEP(4),  STEP(5),  STEP(6), STEP(7), STEP(8),
    STEP(9), STEP(10), STEP(11), STEP(12), STEP(13), STEP(14), STEP(15)
#undef STEP
};

INLINE(AVX2) float scale_at(const uint8_t *block) {
    uint16_t half;
    memcpy(&half, block, sizeof half);
    return _cvtsh_ss(half);
}

INLINE(AVX2) __m256i load_fours(const uint8_t *from) {
    const __m128i both = _mm_loadu_si128((const __m128i *)(const void *)from), mask = _mm_set1_epi8(15);
    return _mm256_set_m128i(_mm_and_si128(_mm_srli_epi16(both, 4), mask), _mm_and_si128(both, mask));
}

INLINE(AVX2) void put(uint8_t *to, __m256i q) {
    _mm256_storeu_si256((__m256i *)(void *)to, q);
}

INLINE(AVX2) __m256i take_bytes(const uint8_t *from, const int above) {
    return _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)from),
                            _mm256_set1_epi8(above ? -128 : 0));
}

INLINE(AVX2) __m256i take_fours(const uint8_t *from, uint8_t step, const int above) {
    const __m256i q = load_fours(from);
    return above ? _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(
                                           _mm_load_si128((const __m128i *)(const void *)stepped[step & 15])),
                                       q)
                 : q;
}

/* Whole blocks of I8, and the columns of the last one that there are. */
INLINE(AVX2) void take_i8(const uint8_t *at, size_t cols, size_t blocks, uint8_t *q, const int above) {
    const size_t whole = cols / BLOCK < blocks ? cols / BLOCK : blocks;
    for (size_t b = 0; b < whole; b++) put(q + b * BLOCK, take_bytes(at + b * BLOCK, above));
    if (whole == blocks) return;
    memset(q + whole * BLOCK, above ? 128 : 0, BLOCK);
    for (size_t c = whole * BLOCK; c < cols; c++) q[c] = (uint8_t)(at[c] ^ (above ? 128 : 0));
}

/* Columns of row o become row r of the job; above: 128 too large. Of rows that follow, some are fetched. */
INLINE(AVX2)
void take_row(const keel_matrix *w, size_t o, size_t first, size_t r, keel__whole *job, const int above) {
    const size_t bytes = keel_matrix_row_bytes(w->type, w->cols), blocks = job->blocks;
    const uint8_t *row = (const uint8_t *)w->data + o * bytes,
                  *at = row + keel_matrix_row_bytes(w->type, first * BLOCK);
    uint8_t *q = job->q[r];
    memcpy(job->scale[r], row, sizeof(float)); /* of those that have it there */
    for (size_t i = 0; first == 0 && i < bytes; i += 64) _mm_prefetch(row + ROWS * bytes + i, _MM_HINT_T0);
    switch (w->type) {
    case KEEL_MATRIX_I8:
        take_i8(at, w->cols - first * BLOCK, blocks, q, above);
        break;
    case KEEL_MATRIX_Q4_G32:
        for (size_t b = 0; b < blocks; b++, at += KEEL_MATRIX_G32_BYTES) {
            put(q + b * BLOCK, take_fours(at + 1, *at, above));
            job->step[r][b] = *at & 15;
        }
        break;
    case KEEL_MATRIX_Q4_0:
        for (size_t b = 0; b < blocks; b++, at += KEEL_MATRIX_Q4_0_BYTES) {
            put(q + b * BLOCK, take_fours(at + 2, 1, above));
            job->scale[r][b] = scale_at(at);
        }
        break;
    default:
        for (size_t b = 0; b < blocks; b++, at += KEEL_MATRIX_BLOCK_BYTES) {
            put(q + b * BLOCK, take_bytes(at + 2, above));
            job->scale[r][b] = scale_at(at);
        }
    }
}

__attribute__((target(AVX2))) void keel__take_avx2(const keel_matrix *w, size_t o, size_t first, size_t r,
                                                   keel__whole *job) {
    take_row(w, o, first, r, job, 0);
}

__attribute__((target(AVX2))) void keel__take_vnni(const keel_matrix *w, size_t o, size_t first, size_t r,
                                                   keel__whole *job) {
    take_row(w, o, first, r, job, 1);
}

static inline const keel__rows_head *head_of(const keel__whole *job, size_t panel) {
    return (const keel__rows_head *)(const void *)((const char *)job->head + panel * job->x_panel);
}

static inline const keel__x_block *x_of(const keel__whole *job, size_t panel) {
    return (const keel__x_block *)(const void *)(job->x + panel * job->x_panel);
}

static inline const keel__scaled_block *scaled_of(const keel__whole *job, size_t panel) {
    return (const keel__scaled_block *)(const void *)(job->x + panel * job->x_panel);
}

/* ---- AVX-512-VNNI ---- */

/* 32 columns of some rows from q on, and of some panels that lie x_panel bytes apart. */
INLINE(VNNI)
void add_512(__m512i sum[ROWS][3], const uint8_t *q, const keel__x_block *x, size_t x_panel, const int panels,
             const int rows) {
    const char *at = (const char *)x->q;
    UNROLL for (int k = 0; k < BLOCK / 4; k++) {
        __m512i v[3];
        UNROLL for (int i = 0; i < panels; i++) v[i] =
            _mm512_loadu_si512(at + (size_t)i * x_panel + sizeof x->q[0] * (size_t)k);
        UNROLL for (int r = 0; r < rows; r++) {
            const __m512i factor = _mm512_set1_epi32(four_at(q + r * COLS + 4 * k));
            UNROLL for (int i = 0; i < panels; i++) sum[r][i] = _mm512_dpbusd_epi32(sum[r][i], factor, v[i]);
        }
    }
}

INLINE(VNNI) void rows_tile_512(const keel__whole *job, size_t first, const int panels) {
    const keel__x_block *x = x_of(job, first);
    float *y = job->y + first * job->y_panel;
    __m512i sum[ROWS][3];
    UNROLL for (int i = 0; i < panels; i++) {
        const __m512i low = _mm512_loadu_si512(head_of(job, first + (size_t)i)->low);
        UNROLL for (int r = 0; r < ROWS; r++) {
            sum[r][i] = low;
            if (!job->first && r < (int)job->rows)
                sum[r][i] = _mm512_loadu_si512(y + (size_t)i * job->y_panel + r * KEEL_PANEL);
        }
    }
    for (size_t b = 0; b < job->blocks; b++, x++)
        add_512(sum, job->q[0] + b * BLOCK, x, job->x_panel, panels, ROWS);
    UNROLL for (int i = 0; i < panels; i++) {
        const __m512 scale = _mm512_loadu_ps(head_of(job, first + (size_t)i)->scale);
        UNROLL for (int r = 0; r < ROWS; r++) {
            float *to = y + (size_t)i * job->y_panel + r * KEEL_PANEL;
            if (r >= (int)job->rows) continue;
            const __m512 ready = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[r][i]),
                                                 _mm512_mul_ps(_mm512_set1_ps(job->scale[r][0]), scale),
                                                 _mm512_set1_ps(job->bias[r]));
            _mm512_storeu_si512(to, job->last ? _mm512_castps_si512(ready) : sum[r][i]);
        }
    }
}

__attribute__((target(VNNI))) void keel__rows_vnni(const keel__whole *job, size_t panels) {
    size_t i = 0;
    for (; i + 2 <= panels; i += 2) rows_tile_512(job, i, 2);
    if (i < panels) rows_tile_512(job, i, 1);
}

/* Whole numbers of a block, and floats: twice panels x rows sums. */
INLINE(VNNI)
void blocks_tile_512(const keel__whole *job, size_t first, const int from, const int panels, const int rows) {
    const char *x = job->x + first * job->x_panel;
    float *y = job->y + first * job->y_panel + from * KEEL_PANEL;
    __m512 sum[ROWS][3];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int i = 0; i < panels; i++) sum[r][i] =
        job->first || from + r >= (int)job->rows
            ? _mm512_set1_ps(job->bias[from + r])
            : _mm512_loadu_ps(y + (size_t)i * job->y_panel + r * KEEL_PANEL);
    for (size_t b = 0; b < job->blocks; b++, x += sizeof(keel__scaled_block)) {
        const keel__scaled_block *block = (const keel__scaled_block *)(const void *)x;
        __m512i whole[ROWS][3];
        UNROLL for (int i = 0; i < panels; i++) {
            const __m512i sums = _mm512_loadu_si512((const char *)block->x.low + (size_t)i * job->x_panel),
                          low = _mm512_slli_epi32(_mm512_madd_epi16(sums, _mm512_set1_epi16(1)), 4);
            UNROLL for (int r = 0; r < rows; r++) whole[r][i] = low;
        }
        add_512(whole, job->q[from] + b * BLOCK, &block->x, job->x_panel, panels, rows);
        UNROLL for (int r = 0; r < rows; r++) {
            const __m512 scale = _mm512_set1_ps(job->scale[from + r][b]);
            UNROLL for (int i = 0; i < panels; i++) sum[r][i] = _mm512_fmadd_ps(
                _mm512_cvtepi32_ps(whole[r][i]),
                _mm512_mul_ps(scale, _mm512_loadu_ps(x + (size_t)i * job->x_panel)), sum[r][i]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int i = 0; i < panels; i++) if (from + r < (int)job->rows)
            _mm512_storeu_ps(y + (size_t)i * job->y_panel + r * KEEL_PANEL, sum[r][i]);
}

__attribute__((target(VNNI))) void keel__blocks_vnni(const keel__whole *job, size_t panels) {
    for (int r = 0; r < (int)job->rows; r += 4) {
        size_t i = 0;
        for (; i + 3 <= panels && panels - i != 4; i += 3) blocks_tile_512(job, i, r, 3, 4);
        for (; i + 2 <= panels; i += 2) blocks_tile_512(job, i, r, 2, 4);
        if (i < panels) blocks_tile_512(job, i, r, 1, 4);
    }
}

/* ---- AVX2 ---- */

INLINE(AVX2) __m256i half_of(const void *lanes, int h) {
    return _mm256_loadu_si256((const __m256i *)lanes + h);
}

/* Weights of 8 bits: |w| times x with the sign of w, so that the sum of two such products fits in 16 bits. */
INLINE(AVX2) void add_bytes(__m256i sum[][2], const uint8_t *q, const keel__x_block *x, const int rows) {
    KEEL__ROLL for (int k = 0; k < BLOCK / 4; k++) {
        const __m256i v[2] = {half_of(x->q[k], 0), half_of(x->q[k], 1)};
        UNROLL for (int r = 0; r < rows; r++) {
            const __m256i factor = _mm256_set1_epi32(four_at(q + r * COLS + 4 * k)),
                          size = _mm256_abs_epi8(factor);
            UNROLL for (int h = 0; h < 2; h++) {
                const __m256i twos = _mm256_maddubs_epi16(size, _mm256_sign_epi8(v[h], factor));
                sum[r][h] = _mm256_add_epi32(sum[r][h], _mm256_madd_epi16(twos, _mm256_set1_epi16(1)));
            }
        }
    }
}

/* Weights of 4 bits, 8 too large: the sums of a block, which x->low makes right, fit in 16 bits; those on the
 * way may pass over, which does not matter. */
INLINE(AVX2)
void add_fours(__m256i sum[][2], const uint8_t *q, const int16_t *step, const keel__x_block *x,
               const int rows) {
    __m256i twos[4][2];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int h = 0; h < 2; h++) twos[r][h] = half_of(x->low, h);
    KEEL__ROLL for (int k = 0; k < BLOCK / 4; k++) {
        const __m256i v[2] = {half_of(x->q[k], 0), half_of(x->q[k], 1)};
        UNROLL for (int r = 0; r < rows; r++) {
            const __m256i factor = _mm256_set1_epi32(four_at(q + r * COLS + 4 * k));
            UNROLL for (int h = 0; h < 2; h++) twos[r][h] =
                _mm256_add_epi16(twos[r][h], _mm256_maddubs_epi16(factor, v[h]));
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        const __m256i steps = _mm256_set1_epi16(step ? step[r * KEEL__WHOLE_BLOCKS] : 1);
        UNROLL for (int h = 0; h < 2; h++) sum[r][h] =
            _mm256_add_epi32(sum[r][h], _mm256_madd_epi16(twos[r][h], steps));
    }
}

INLINE(AVX2)
void rows_tile_256(const keel__whole *job, size_t panel, const int from, const int rows, const int fours) {
    const keel__x_block *x = x_of(job, panel);
    const keel__rows_head *head = head_of(job, panel);
    float *y = job->y + panel * job->y_panel + from * KEEL_PANEL;
    __m256i sum[4][2];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int h = 0; h < 2; h++) sum[r][h] =
        job->first || from + r >= (int)job->rows ? _mm256_setzero_si256() : half_of(y + r * KEEL_PANEL, h);
    for (size_t b = 0; b < job->blocks; b++, x++) {
        if (fours)
            add_fours(sum, job->q[from] + b * BLOCK, job->step[from] + b, x, rows);
        else
            add_bytes(sum, job->q[from] + b * BLOCK, x, rows);
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int h = 0; h < 2; h++) {
        const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(job->scale[from + r][0]),
                                           _mm256_loadu_ps(head->scale + 8 * h)),
                     ready = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[r][h]), scale,
                                             _mm256_set1_ps(job->bias[from + r]));
        if (from + r < (int)job->rows)
            _mm256_storeu_ps(y + r * KEEL_PANEL + 8 * h, job->last ? ready : _mm256_castsi256_ps(sum[r][h]));
    }
}

__attribute__((target(AVX2))) void keel__rows_avx2(const keel__whole *job, size_t panels) {
    for (int r = 0; r < (int)job->rows; r += 4)
        for (size_t i = 0; i < panels; i++) {
            if (job->fours)
                rows_tile_256(job, i, r, 4, 1);
            else
                rows_tile_256(job, i, r, 4, 0);
        }
}

INLINE(AVX2)
void blocks_tile_256(const keel__whole *job, size_t panel, const int from, const int rows, const int fours) {
    const keel__scaled_block *x = scaled_of(job, panel);
    float *y = job->y + panel * job->y_panel + from * KEEL_PANEL;
    __m256 sum[4][2];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int h = 0; h < 2; h++) sum[r][h] =
        job->first || from + r >= (int)job->rows ? _mm256_set1_ps(job->bias[from + r])
                                                 : _mm256_loadu_ps(y + r * KEEL_PANEL + 8 * h);
    for (size_t b = 0; b < job->blocks; b++, x++) {
        __m256i whole[4][2];
        UNROLL for (int r = 0; r < rows; r++) whole[r][0] = whole[r][1] = _mm256_setzero_si256();
        if (fours)
            add_fours(whole, job->q[from] + b * BLOCK, NULL, &x->x, rows);
        else
            add_bytes(whole, job->q[from] + b * BLOCK, &x->x, rows);
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int h = 0; h < 2; h++) {
            const __m256 scale =
                _mm256_mul_ps(_mm256_set1_ps(job->scale[from + r][b]), _mm256_loadu_ps(x->scale + 8 * h));
            sum[r][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[r][h]), scale, sum[r][h]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int h = 0; h < 2; h++) if (from + r < (int)job->rows)
        _mm256_storeu_ps(y + r * KEEL_PANEL + 8 * h, sum[r][h]);
}

__attribute__((target(AVX2))) void keel__blocks_avx2(const keel__whole *job, size_t panels) {
    for (int r = 0; r < (int)job->rows; r += 2)
        for (size_t i = 0; i < panels; i++) {
            if (job->fours)
                blocks_tile_256(job, i, r, 2, 1);
            else
                blocks_tile_256(job, i, r, 2, 0);
        }
}

/* ---- one to four rows of x: by rows of the matrix, along their columns ---- */

enum { MOST_COLS = 16384, AT_ONCE = 4 };

typedef struct few {
    const keel_matrix *w;
    const keel__rows_head *head;
    const float *bias; /* NULL: zeros */
    float *y;
    size_t blocks;
    int8_t x[KEEL__FEW][MOST_COLS]; /* rows of x, which lie in lanes of the panel */
} few;

static void take_x(const void *packed, size_t rows, few *f) {
    f->head = packed;
    const keel__x_block *block = (const keel__x_block *)(f->head + 1);
    for (size_t b = 0; b < f->blocks; b++, block++)
        for (size_t r = 0; r < rows; r++)
            for (size_t k = 0; k < BLOCK / 4; k++) memcpy(f->x[r] + b * BLOCK + 4 * k, block->q[k][r], 4);
}

/* The sums of the lanes of four vectors. */
INLINE(AVX2) __m128i sums_of(const __m256i sum[AT_ONCE]) {
    const __m256i all =
        _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]), _mm256_hadd_epi32(sum[2], sum[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

/* y of outputs o .. o + 3 and row r. */
INLINE(AVX2) void finish(const few *f, size_t o, size_t r, __m128i whole, const float scale[AT_ONCE]) {
    const __m128 ready =
        _mm_fmadd_ps(_mm_cvtepi32_ps(whole), _mm_mul_ps(_mm_loadu_ps(scale), _mm_set1_ps(f->head->scale[r])),
                     f->bias ? _mm_loadu_ps(f->bias + o) : _mm_setzero_ps());
    float four[AT_ONCE];
    _mm_storeu_ps(four, ready);
    for (size_t i = 0; i < AT_ONCE; i++) f->y[(o + i) * KEEL_PANEL + r] = four[i];
}

/* A block of a row, which `at` passes; its step. */
INLINE(AVX2) __m256i next_block(const uint8_t **at, const int fours, const int above, int16_t *step) {
    const uint8_t *from = *at;
    *at += fours ? KEEL_MATRIX_G32_BYTES : BLOCK;
    *step = fours ? *from : 1;
    return fours ? take_fours(from + 1, *from, above) : take_bytes(from, above);
}

/* What comes some rows later: rows follow one another. */
INLINE(AVX2) void fetch(const uint8_t *at, const int fours) {
    enum { AHEAD = 8192 };
    for (int i = 0; i < (fours ? 1 : 2); i++) _mm_prefetch(at + AHEAD + 64 * i, _MM_HINT_T0);
}

/* Rows o .. o + 3: their scales, and what follows these. Where the first begins. */
INLINE(AVX2)
const uint8_t *begin(const few *f, size_t o, const uint8_t *at[AT_ONCE], float scale[AT_ONCE],
                     __m256i sum[][AT_ONCE], const int rows) {
    const size_t bytes = keel_matrix_row_bytes(f->w->type, f->w->cols);
    const uint8_t *first = (const uint8_t *)f->w->data + o * bytes;
    UNROLL for (int i = 0; i < AT_ONCE; i++) {
        const uint8_t *row = first + (size_t)i * bytes;
        memcpy(scale + i, row, sizeof *scale);
        at[i] = row + sizeof *scale;
        UNROLL for (int r = 0; r < rows; r++) sum[r][i] = _mm256_setzero_si256();
    }
    return first;
}

INLINE(VNNI ",f16c,fma") void few_tile_vnni(const few *f, size_t o, const int fours, const int rows) {
    const uint8_t *at[AT_ONCE], *next;
    float scale[AT_ONCE];
    __m256i sum[KEEL__FEW][AT_ONCE];
    next = begin(f, o, at, scale, sum, rows);
    for (size_t b = 0; b < f->blocks; b++) {
        fetch(next + (fours ? 68 : 128) * b, fours);
        UNROLL for (int i = 0; i < AT_ONCE; i++) {
            int16_t unused;
            const __m256i w = next_block(&at[i], fours, 1, &unused);
            UNROLL for (int r = 0; r < rows; r++) sum[r][i] =
                _mm256_dpbusd_epi32(sum[r][i], w, half_of(f->x[r] + b * BLOCK, 0));
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        finish(f, o, (size_t)r, _mm_add_epi32(sums_of(sum[r]), _mm_set1_epi32(f->head->low[r])), scale);
}

INLINE(AVX2) void few_tile_avx2(const few *f, size_t o, const int fours, const int rows) {
    const uint8_t *at[AT_ONCE], *next;
    float scale[AT_ONCE];
    __m256i sum[KEEL__FEW][AT_ONCE];
    next = begin(f, o, at, scale, sum, rows);
    for (size_t b = 0; b < f->blocks; b++) {
        fetch(next + (fours ? 68 : 128) * b, fours);
        UNROLL for (int i = 0; i < AT_ONCE; i++) {
            int16_t step;
            __m256i w = next_block(&at[i], fours, 0, &step);
            if (fours) w = _mm256_sub_epi8(w, _mm256_set1_epi8(8));
            UNROLL for (int r = 0; r < rows; r++) {
                const __m256i x = half_of(f->x[r] + b * BLOCK, 0),
                              twos = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
                sum[r][i] = _mm256_add_epi32(sum[r][i], _mm256_madd_epi16(twos, _mm256_set1_epi16(step)));
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) finish(f, o, (size_t)r, sums_of(sum[r]), scale);
}

#define FEW_ROWS(name, isa, tile)                                                                            \
    __attribute__((target(isa))) size_t name(const void *x, size_t rows, const keel_matrix *w,               \
                                             const float *bias, size_t from, size_t to, float *y) {          \
        const size_t end = from + (to - from) / KEEL_PANEL * KEEL_PANEL;                                     \
        few f;                                                                                               \
        if (w->cols % BLOCK || w->cols > MOST_COLS || end == from) return from;                              \
        f.w = w, f.bias = bias, f.y = y, f.blocks = w->cols / BLOCK;                                         \
        take_x(x, rows, &f);                                                                                 \
        for (size_t o = from; o < end; o += AT_ONCE) {                                                       \
            if (w->type == KEEL_MATRIX_I8)                                                                   \
                KEEL__BY_ROWS(tile, &f, o, 0)                                                                \
            else                                                                                             \
                KEEL__BY_ROWS(tile, &f, o, 1)                                                                \
        }                                                                                                    \
        return end;                                                                                          \
    }
FEW_ROWS(keel__few_rows, VNNI ",f16c,fma", few_tile_vnni)
FEW_ROWS(keel__few_rows_avx2, AVX2, few_tile_avx2)
#endif
