#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/numeric.h"
#include "core/packed.h"
#include "policies/ngram_base/linear_probes_internal.h"

const keel_linear_probes_config keel_linear_probes_standard = {
    .head = {{1, false}, {1, false}, {1, false}, {1, false}},
    .folds = 5,
    .iterations = 150,
    .max_entries = 8000000,
    .distil = 0.5,
    .temperature = 1,
};

size_t keel__linear_probes_fold(int64_t group, size_t folds) {
    return (size_t)(keel_hash64_mix((uint64_t)group, 0x6865616473) % folds); /* "heads" */
}

/* ---- collecting ---- */

static keel_status check_config(const keel_linear_probes_config *config, keel_err *err) {
    const char *where = "linear probes";
    if (config->n_ids == 0 || config->n_ids > INT32_MAX)
        return keel_fail(err, KEEL_E_INVALID, where, "n_ids: expected 1 to %d, got %zu", INT32_MAX,
                         config->n_ids);
    if (config->n_heads == 0 || config->n_heads > KEEL_LINEAR_PROBES_MAX)
        return keel_fail(err, KEEL_E_INVALID, where, "n_heads: expected 1 to %d, got %zu",
                         KEEL_LINEAR_PROBES_MAX, config->n_heads);
    if (config->folds < 2 || config->folds > KEEL_LINEAR_PROBES_MAX_FOLDS)
        return keel_fail(err, KEEL_E_INVALID, where, "folds: expected 2 to %d, got %zu",
                         KEEL_LINEAR_PROBES_MAX_FOLDS, config->folds);
    for (size_t h = 0; h < config->n_heads; h++)
        if (!(config->head[h].lambda > 0 && isfinite(config->head[h].lambda)))
            return keel_fail(err, KEEL_E_INVALID, where, "lambda of head %zu: expected above 0, got %g", h,
                             config->head[h].lambda);
    return KEEL_OK;
}

keel_status keel_linear_probes_builder_open(keel_linear_probes_builder **out,
                                            const keel_linear_probes_config *config, keel_err *err) {
    KEEL_TRY(check_config(config, err));
    keel_linear_probes_builder *builder = keel_calloc(1, sizeof *builder);
    if (!builder) return keel_nomem(err, "linear probes");
    builder->config = *config;
    builder->limit = UINT64_MAX;
    *out = builder;
    return KEEL_OK;
}

void keel_linear_probes_builder_close(keel_linear_probes_builder *builder) {
    if (!builder) return;
    for (size_t i = 0; i < builder->count; i++) keel_free(builder->unit[i]);
    keel_free(builder->unit);
    keel_free(builder);
}

static keel_status check_unit(const keel_linear_probes_config *config, const keel_linear_probes_row *rows,
                              size_t n_rows, const keel_linear_probes_pair *pairs, size_t n_pairs,
                              keel_err *err) {
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < rows[r].n_ids; i++)
            if (rows[r].id[i] >= config->n_ids)
                return keel_fail(err, KEEL_E_INVALID, "linear probes",
                                 "row %zu: expected ids below %zu, got %u", r, config->n_ids, rows[r].id[i]);
    for (size_t i = 0; i < n_pairs; i++) {
        const keel_linear_probes_pair *pair = &pairs[i];
        bool ranks = pair->head < config->n_heads && config->head[pair->head].ranks;
        if (!ranks || pair->better >= n_rows || pair->worse >= n_rows || pair->better == pair->worse)
            return keel_fail(
                err, KEEL_E_INVALID, "linear probes",
                "pair %zu: expected two of %zu rows for a ranking head, got rows %u and %u, head %u", i,
                n_rows, pair->better, pair->worse, pair->head);
    }
    return KEEL_OK;
}

/* The teacher's probability of a head's label, at the temperature. */
static float soft_label(const keel_linear_probes_config *config, const keel_linear_probes_row *row,
                        size_t head) {
    const bool reads = row->taught && head < config->n_heads && !config->head[head].ranks;
    return reads ? (float)(1 / (1 + exp(-(double)row->taught[head] / config->temperature))) : NAN;
}

static bool has_label(const keel_linear_probes_config *config, const keel_linear_probes_row *rows,
                      size_t n_rows, size_t n_pairs) {
    bool has = n_pairs > 0;
    for (size_t r = 0; r < n_rows && !has; r++)
        for (size_t h = 0; h < config->n_heads; h++)
            has = has || (!config->head[h].ranks &&
                          (rows[r].label[h] != KEEL_UNKNOWN || !isnan(soft_label(config, &rows[r], h))));
    return has;
}

/* Widest members first, so that each one is aligned after the one before it. */
static keel__linear_probes_unit *copy_unit(const keel_linear_probes_config *config,
                                           const keel_linear_probes_row *rows, size_t n_rows,
                                           const keel_linear_probes_pair *pairs, size_t n_pairs) {
    size_t entries = 0, at = 0;
    for (size_t r = 0; r < n_rows; r++) entries += rows[r].n_ids;
    keel__linear_probes_unit *unit =
        keel_alloc(sizeof *unit + n_rows * sizeof *unit->end + entries * sizeof *unit->id +
                   n_rows * config->n_dense * sizeof *unit->dense + n_pairs * sizeof *unit->pair +
                   n_rows * KEEL_LINEAR_PROBES_MAX * (sizeof *unit->soft + 1));
    if (!unit) return NULL;
    *unit = (keel__linear_probes_unit){.n_rows = n_rows, .n_pairs = n_pairs, .entries = entries};
    unit->end = (size_t *)(unit + 1);
    unit->id = (uint32_t *)(unit->end + n_rows);
    unit->dense = (float *)(unit->id + entries);
    unit->pair = (keel_linear_probes_pair *)(unit->dense + n_rows * config->n_dense);
    unit->soft = (float *)(unit->pair + n_pairs);
    unit->label = (signed char *)(unit->soft + n_rows * KEEL_LINEAR_PROBES_MAX);
    for (size_t r = 0; r < n_rows; r++) {
        if (rows[r].n_ids > 0) memcpy(unit->id + at, rows[r].id, rows[r].n_ids * sizeof *unit->id);
        unit->end[r] = at += rows[r].n_ids;
        for (size_t j = 0; j < config->n_dense; j++) unit->dense[r * config->n_dense + j] = rows[r].dense[j];
        for (size_t h = 0; h < KEEL_LINEAR_PROBES_MAX; h++) {
            bool reads = h < config->n_heads && !config->head[h].ranks;
            unit->label[r * KEEL_LINEAR_PROBES_MAX + h] =
                (signed char)(reads ? rows[r].label[h] : KEEL_UNKNOWN);
            unit->soft[r * KEEL_LINEAR_PROBES_MAX + h] = soft_label(config, &rows[r], h);
        }
    }
    if (n_pairs > 0) memcpy(unit->pair, pairs, n_pairs * sizeof *pairs);
    return unit;
}

static bool make_room(keel_linear_probes_builder *builder) {
    return keel_grow(&builder->unit, builder->count + 1, &builder->room, sizeof *builder->unit);
}

/* Lowers the limit until the kept units fit. They depend on the draws alone, so they are a random sample. */
static void drop_over_limit(keel_linear_probes_builder *builder) {
    while (builder->entries > builder->config.max_entries && builder->limit > 8) {
        size_t kept = 0;
        builder->limit -= builder->limit / 8;
        for (size_t i = 0; i < builder->count; i++) {
            keel__linear_probes_unit *unit = builder->unit[i];
            if (unit->draw < builder->limit) {
                builder->unit[kept++] = unit;
                continue;
            }
            builder->entries -= unit->entries + unit->n_rows;
            keel_free(unit);
        }
        builder->count = kept;
    }
}

keel_status keel_linear_probes_add(keel_linear_probes_builder *builder, uint64_t name, int64_t group,
                                   const keel_linear_probes_row *rows, size_t n_rows,
                                   const keel_linear_probes_pair *pairs, size_t n_pairs, keel_err *err) {
    KEEL_TRY(check_unit(&builder->config, rows, n_rows, pairs, n_pairs, err));
    if (!has_label(&builder->config, rows, n_rows, n_pairs)) return KEEL_OK;
    uint64_t draw = keel_hash64_mix(builder->config.seed, name);
    if (draw >= builder->limit) return KEEL_OK;
    keel__linear_probes_unit *unit =
        make_room(builder) ? copy_unit(&builder->config, rows, n_rows, pairs, n_pairs) : NULL;
    if (!unit) return keel_nomem(err, "linear probes");
    unit->draw = draw;
    unit->group = group;
    builder->unit[builder->count++] = unit;
    builder->entries += unit->entries + n_rows;
    drop_over_limit(builder);
    return KEEL_OK;
}

/* ---- logits ---- */

keel_status keel__linear_probes_make(keel_linear_probes **out, const keel_linear_probes *sizes,
                                     keel_err *err) {
    size_t cells;
    keel_linear_probes *heads = keel_calloc(1, sizeof *heads);
    if (!heads) return keel_nomem(err, "linear probes");
    *heads = *sizes;
    heads->arena = (keel_arena){0};
    keel_arena *arena = &heads->arena;
    bool good = keel_size_mul(sizes->sets * sizes->n_heads, sizes->used + sizes->n_dense + 1, &cells);
    heads->id = keel_arena_calloc(arena, sizes->used, sizeof *heads->id);
    heads->column_of = keel_arena_alloc(arena, sizes->n_ids * sizeof *heads->column_of);
    heads->idf = keel_arena_calloc(arena, sizes->used + 1, sizeof *heads->idf);
    heads->dense = keel_arena_calloc(arena, 2 * sizes->n_dense, sizeof *heads->dense);
    heads->weight = good ? keel_arena_calloc(arena, cells, sizeof *heads->weight) : NULL;
    heads->group = keel_arena_calloc(arena, sizes->n_groups, sizeof *heads->group);
    good = heads->id && heads->column_of && heads->idf && heads->dense && heads->weight && heads->group;
    if (!good) {
        keel_linear_probes_close(heads);
        return keel_nomem(err, "linear probes");
    }
    for (size_t i = 0; i < sizes->n_ids; i++) heads->column_of[i] = -1;
    *out = heads;
    return KEEL_OK;
}

void keel_linear_probes_close(keel_linear_probes *heads) {
    if (!heads) return;
    keel_arena_free(&heads->arena);
    keel_free(heads);
}

static int by_number(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static const float *weights_for(const keel_linear_probes *heads, int64_t group) {
    size_t folds = heads->sets - 1, set = folds;
    if (heads->n_groups > 0 && bsearch(&group, heads->group, heads->n_groups, sizeof group, by_number))
        set = keel__linear_probes_fold(group, folds);
    return heads->weight + set * (heads->used + heads->n_dense + 1) * heads->n_heads;
}

/* sum[h] += x w[h] */
static void add_product(double *sum, double x, const float *weight, size_t n_heads) {
    for (size_t h = 0; h < n_heads; h++) sum[h] += x * (double)weight[h];
}

void keel_linear_probes_logits(const keel_linear_probes *heads, const keel_linear_probes_row *row,
                               int64_t group, float *logits) {
    const float *weight = weights_for(heads, group);
    size_t n = heads->n_heads, n_ids = heads->used > 0 ? row->n_ids : 0; /* heads without a fit know no id */
    double square = 0, sum[KEEL_LINEAR_PROBES_MAX] = {0};
    for (size_t i = 0; i < n_ids; i++) {
        int32_t column = row->id[i] < heads->n_ids ? heads->column_of[row->id[i]] : -1;
        double idf = (double)heads->idf[column >= 0 ? (size_t)column : heads->used];
        square += idf * idf;
        if (column >= 0) add_product(sum, idf, weight + (size_t)column * n, n);
    }
    for (size_t h = 0; h < n && square > 0; h++) sum[h] /= sqrt(square);
    weight += heads->used * n;
    for (size_t j = 0; j < heads->n_dense; j++, weight += n) {
        float centred = row->dense[j] - heads->dense[j];
        add_product(sum, (double)(centred * heads->dense[heads->n_dense + j]), weight, n);
    }
    add_product(sum, 1, weight, n);
    for (size_t h = 0; h < n; h++) logits[h] = heads->fitted[h] ? (float)sum[h] : 0;
}

bool keel_linear_probes_parts(const keel_linear_probes *heads, const keel_linear_probes_row *row,
                              int64_t group, size_t head, double *part, double *rest) {
    const float *weight = weights_for(heads, group) + head;
    size_t n = heads->n_heads;
    double square = 0;
    bool fitted = heads->fitted[head];
    for (size_t i = 0; i < row->n_ids; i++) {
        bool known = heads->used > 0 && row->id[i] < heads->n_ids && heads->column_of[row->id[i]] >= 0;
        size_t column = known ? (size_t)heads->column_of[row->id[i]] : heads->used;
        double idf = (double)heads->idf[column];
        square += idf * idf;
        part[i] = known && fitted ? idf * (double)weight[column * n] : 0;
    }
    for (size_t i = 0; i < row->n_ids && square > 0; i++) part[i] /= sqrt(square);
    weight += heads->used * n;
    *rest = 0;
    for (size_t j = 0; fitted && j < heads->n_dense; j++, weight += n)
        *rest +=
            (double)((row->dense[j] - heads->dense[j]) * heads->dense[heads->n_dense + j]) * (double)*weight;
    if (fitted) *rest += (double)*weight;
    return fitted;
}

/* ---- at 8 bits ---- */

static size_t tail_of(const keel_linear_probes *heads) {
    return heads->n_dense + 1;
}

/* Between weights [set][column][head] and what is packed, [set][head][column], and the rest. */
static float *weight_at(const keel_linear_probes *heads, size_t set, size_t column) {
    return heads->weight + (set * (heads->used + tail_of(heads)) + column) * heads->n_heads;
}

static void turn(const keel_linear_probes *heads, float *row, size_t set, size_t head, bool back) {
    for (size_t c = 0; c < heads->used; c++) {
        float *weight = weight_at(heads, set, c) + head;
        if (back)
            *weight = row[c];
        else
            row[c] = *weight;
    }
}

/* Rounds every row into `packed` (to), or makes weights of it. False where a number is not finite. */
static bool visit_packed(keel_linear_probes *heads, float *row, bool round) {
    const size_t bytes = keel_packed_row(heads->used);
    for (size_t set = 0; set < heads->sets; set++)
        for (size_t h = 0; h < heads->n_heads; h++) {
            unsigned char *packed = heads->packed + (set * heads->n_heads + h) * bytes;
            if (round) {
                turn(heads, row, set, h, false);
                keel_packed_round(row, 1, heads->used, packed);
            } else if (!keel_packed_widen(packed, 1, heads->used, row)) {
                return false;
            }
            turn(heads, row, set, h, true);
        }
    return true;
}

static bool make_packed(keel_linear_probes *heads) {
    const size_t rows = heads->sets * heads->n_heads;
    heads->packed = keel_arena_alloc(&heads->arena, rows * keel_packed_row(heads->used) + 1);
    return heads->packed != NULL;
}

keel_status keel_linear_probes_pack(keel_linear_probes *heads, keel_err *err) {
    if (!heads || heads->packed) return KEEL_OK;
    float *row = keel_calloc(heads->used + 1, sizeof *row);
    const bool room = row && make_packed(heads);
    if (room) visit_packed(heads, row, true);
    keel_free(row);
    return room ? KEEL_OK : keel_nomem(err, "linear probes");
}

double keel_linear_probes_parameters(const keel_linear_probes *heads) {
    return heads ? (double)(heads->sets * heads->n_heads) * (double)(heads->used + tail_of(heads)) : 0;
}

double keel_linear_probes_bytes(const keel_linear_probes *heads) {
    if (!heads) return 0;
    const double row = heads->packed ? (double)keel_packed_row(heads->used) + 4 * (double)tail_of(heads)
                                     : 4 * (double)(heads->used + tail_of(heads));
    return (double)(heads->sets * heads->n_heads) * row;
}

/* What is not packed, [sets, n_dense + 1, n_heads], out of the weights or into them. */
static void visit_rest(const keel_linear_probes *heads, float *rest, bool into) {
    const size_t n = tail_of(heads) * heads->n_heads;
    for (size_t set = 0; set < heads->sets; set++, rest += n) {
        float *weight = weight_at(heads, set, heads->used);
        memcpy(into ? weight : rest, into ? rest : weight, n * sizeof *rest);
    }
}

/* ---- files ---- */

static const char *const tensor_suffix[] = {
    ".id", ".idf", ".weight", ".fitted", ".group", ".dense", (".weight" KEEL_PACKED_SUFFIX), ".rest"};
enum { ID, IDF, WEIGHT, FITTED, GROUP, DENSE, PACKED, REST, N_TENSORS };

static const char *tensor_name(keel_arena *arena, const char *prefix, int tensor) {
    size_t room = strlen(prefix) + strlen(tensor_suffix[tensor]) + 1;
    char *name = keel_arena_alloc(arena, room);
    if (name) snprintf(name, room, "%s%s", prefix, tensor_suffix[tensor]);
    return name;
}

keel_status keel_linear_probes_tensors(const keel_linear_probes *heads, const char *prefix, keel_arena *arena,
                                       keel_named_tensor out[KEEL_LINEAR_PROBES_TENSORS], size_t *count,
                                       keel_err *err) {
    const size_t columns = heads->used + tail_of(heads), rows = heads->sets * heads->n_heads,
                 row = keel_packed_row(heads->used);
    float *rest = heads->packed ? keel_arena_alloc(arena, rows * tail_of(heads) * sizeof *rest) : NULL;
    if (heads->packed && !rest) return keel_nomem(err, "linear probes");
    if (rest) visit_rest(heads, rest, false);
    const bool kept[N_TENSORS] = {true, true, !rest, true, true, heads->n_dense > 0, rest, rest};
    const keel_named_tensor made[N_TENSORS] = {
        [ID] = {NULL, KEEL_I32, 1, {heads->used}, heads->id, heads->used * sizeof *heads->id},
        [IDF] = {NULL, KEEL_F32, 1, {heads->used + 1}, heads->idf, (heads->used + 1) * sizeof *heads->idf},
        [WEIGHT] = {NULL,
                    KEEL_F32,
                    3,
                    {heads->sets, columns, heads->n_heads},
                    heads->weight,
                    heads->sets * columns * heads->n_heads * sizeof *heads->weight},
        [FITTED] = {NULL, KEEL_U8, 1, {heads->n_heads}, heads->fitted, heads->n_heads},
        [GROUP] =
            {NULL, KEEL_I64, 1, {heads->n_groups}, heads->group, heads->n_groups * sizeof *heads->group},
        [DENSE] =
            {NULL, KEEL_F32, 2, {2, heads->n_dense}, heads->dense, 2 * heads->n_dense * sizeof *heads->dense},
        [PACKED] = {NULL, KEEL_U8, 2, {rows, row}, heads->packed, rows * row},
        [REST] = {NULL,
                  KEEL_F32,
                  3,
                  {heads->sets, tail_of(heads), heads->n_heads},
                  rest,
                  rows * tail_of(heads) * sizeof *rest},
    };
    *count = 0;
    for (int i = 0; i < N_TENSORS; i++) {
        if (!kept[i]) continue;
        out[*count] = made[i];
        out[*count].name = tensor_name(arena, prefix, i);
        if (!out[(*count)++].name) return keel_nomem(err, "linear probes");
    }
    return KEEL_OK;
}

typedef struct reader {
    const keel_safetensors *file;
    const char *prefix;
    keel_arena names;
    const keel_named_tensor *tensor[N_TENSORS];
    bool packed;
    keel_err *err;
} reader;

static keel_status find(reader *r, int tensor, keel_dtype dtype, size_t n_dims) {
    const char *name = tensor_name(&r->names, r->prefix, tensor);
    if (!name) return keel_nomem(r->err, "linear probes");
    const keel_named_tensor *found = keel_safetensors_find(r->file, name);
    if (!found) return keel_fail(r->err, KEEL_E_INVALID, r->file->path, "the tensor \"%s\" is missing", name);
    if (found->dtype != dtype || found->n_dims != n_dims)
        return keel_fail(r->err, KEEL_E_INVALID, r->file->path,
                         "tensor \"%s\": not of the type or rank expected", name);
    r->tensor[tensor] = found;
    return KEEL_OK;
}

static keel_status expect(const reader *r, int tensor, size_t dim, size_t wanted) {
    const keel_named_tensor *found = r->tensor[tensor];
    if (found->shape[dim] == wanted) return KEEL_OK;
    return keel_fail(r->err, KEEL_E_INVALID, r->file->path,
                     "tensor \"%s\": expected %zu in dimension %zu, got %zu", found->name, wanted, dim,
                     found->shape[dim]);
}

static keel_status bad(const reader *r, int tensor, const char *what) {
    const char *name = r->tensor[tensor]->name;
    return keel_fail(r->err, KEEL_E_INVALID, r->file->path, "tensor \"%s\": %s", name, what);
}

/* Whole, or packed. */
static keel_status find_weights(reader *r) {
    const char *name = tensor_name(&r->names, r->prefix, PACKED);
    if (!name) return keel_nomem(r->err, "linear probes");
    r->packed = keel_safetensors_find(r->file, name) != NULL;
    if (!r->packed) return find(r, WEIGHT, KEEL_F32, 3);
    KEEL_TRY(find(r, PACKED, KEEL_U8, 2));
    return find(r, REST, KEEL_F32, 3);
}

static keel_status find_all(reader *r, keel_linear_probes *sizes) {
    KEEL_TRY(find(r, ID, KEEL_I32, 1));
    KEEL_TRY(find(r, IDF, KEEL_F32, 1));
    KEEL_TRY(find_weights(r));
    KEEL_TRY(find(r, FITTED, KEEL_U8, 1));
    KEEL_TRY(find(r, GROUP, KEEL_I64, 1));
    if (sizes->n_dense > 0) KEEL_TRY(find(r, DENSE, KEEL_F32, 2));
    sizes->used = r->tensor[ID]->shape[0];
    const int whole = r->packed ? REST : WEIGHT;
    sizes->sets = r->tensor[whole]->shape[0];
    sizes->n_groups = r->tensor[GROUP]->shape[0];
    if (sizes->used > sizes->n_ids) return bad(r, ID, "more ids than there can be");
    if (sizes->sets < 3 || sizes->sets > KEEL_LINEAR_PROBES_MAX_FOLDS + 1)
        return bad(r, whole, "bad number of folds");
    KEEL_TRY(expect(r, IDF, 0, sizes->used + 1));
    KEEL_TRY(expect(r, whole, 1, (r->packed ? 0 : sizes->used) + tail_of(sizes)));
    KEEL_TRY(expect(r, whole, 2, sizes->n_heads));
    if (r->packed) KEEL_TRY(expect(r, PACKED, 0, sizes->sets * sizes->n_heads));
    if (r->packed) KEEL_TRY(expect(r, PACKED, 1, keel_packed_row(sizes->used)));
    KEEL_TRY(expect(r, FITTED, 0, sizes->n_heads));
    if (sizes->n_dense > 0) KEEL_TRY(expect(r, DENSE, 0, 2));
    return sizes->n_dense > 0 ? expect(r, DENSE, 1, sizes->n_dense) : KEEL_OK;
}

static void copy(const reader *r, int tensor, void *out) {
    if (r->tensor[tensor]->bytes > 0) memcpy(out, r->tensor[tensor]->data, r->tensor[tensor]->bytes);
}

static keel_status fill_packed(const reader *r, keel_linear_probes *heads, float *row, float *rest) {
    if (!row || !rest || !make_packed(heads)) return keel_nomem(r->err, "linear probes");
    copy(r, PACKED, heads->packed);
    copy(r, REST, rest);
    visit_rest(heads, rest, true);
    return visit_packed(heads, row, false) ? KEEL_OK : bad(r, PACKED, "a number is not finite");
}

static keel_status fill_weights(const reader *r, keel_linear_probes *heads) {
    if (!r->packed) return copy(r, WEIGHT, heads->weight), KEEL_OK;
    float *row = keel_calloc(heads->used + 1, sizeof *row),
          *rest = keel_calloc(heads->sets * heads->n_heads * tail_of(heads), sizeof *rest);
    const keel_status status = fill_packed(r, heads, row, rest);
    keel_free(row);
    keel_free(rest);
    return status;
}

static keel_status fill(const reader *r, keel_linear_probes *heads) {
    copy(r, ID, heads->id);
    copy(r, IDF, heads->idf);
    KEEL_TRY(fill_weights(r, heads));
    copy(r, FITTED, heads->fitted);
    copy(r, GROUP, heads->group);
    if (heads->n_dense > 0) copy(r, DENSE, heads->dense);
    for (size_t i = 0; i < heads->used; i++) {
        int32_t id = heads->id[i];
        if (id < 0 || (size_t)id >= heads->n_ids) return bad(r, ID, "an id is out of range");
        if (heads->column_of[id] >= 0) return bad(r, ID, "an id is there twice");
        heads->column_of[id] = (int32_t)i;
    }
    for (size_t h = 0; h < heads->n_heads; h++)
        if (heads->fitted[h] > 1) return bad(r, FITTED, "expected 0 or 1");
    for (size_t i = 1; i < heads->n_groups; i++)
        if (heads->group[i] <= heads->group[i - 1]) return bad(r, GROUP, "groups do not ascend");
    if (!keel_all_finite(heads->idf, heads->used + 1)) return bad(r, IDF, "a number is not finite");
    if (!keel_all_finite(heads->dense, 2 * heads->n_dense)) return bad(r, DENSE, "a number is not finite");
    size_t cells = heads->sets * (heads->used + heads->n_dense + 1) * heads->n_heads;
    return keel_all_finite(heads->weight, cells)
               ? KEEL_OK
               : bad(r, r->packed ? REST : WEIGHT, "a number is not finite");
}

keel_status keel_linear_probes_load(keel_linear_probes **out, const keel_safetensors *file,
                                    const char *prefix, size_t n_ids, size_t n_heads, size_t n_dense,
                                    keel_err *err) {
    reader r = {.file = file, .prefix = prefix, .err = err};
    keel_linear_probes sizes = {.n_ids = n_ids, .n_heads = n_heads, .n_dense = n_dense}, *heads = NULL;
    keel_status status = KEEL_OK;
    if (n_ids > INT32_MAX || n_heads == 0 || n_heads > KEEL_LINEAR_PROBES_MAX)
        return keel_fail(err, KEEL_E_INVALID, file->path, "%s: %zu ids and %zu heads are no linear probes",
                         prefix, n_ids, n_heads);
    KEEL_TRY_GOTO(find_all(&r, &sizes), done);
    KEEL_TRY_GOTO(keel__linear_probes_make(&heads, &sizes, err), done);
    KEEL_TRY_GOTO(fill(&r, heads), done);
    *out = heads;
    heads = NULL;
done:
    keel_linear_probes_close(heads);
    keel_arena_free(&r.names);
    return status;
}
