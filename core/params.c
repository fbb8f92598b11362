#include "core/params.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

enum { PADDING = 16, ALIGNMENT = 64 };

/* One allocation holds [table | offsets | names | aligned data]; this is its size and where the parts begin.
 */
typedef struct params_layout {
    size_t offsets, names, data, bytes;
    size_t elements;
} params_layout;

static bool add_padded(size_t *sum, size_t more, size_t unit) {
    size_t total;
    if (!keel_size_add(*sum, more, &total) || !keel_size_add(total, unit - 1, &total)) return false;
    *sum = total - total % unit;
    return true;
}

static bool plan_params(const keel_param *table, size_t count, params_layout *plan) {
    size_t names = 0, size;
    *plan = (params_layout){0};
    for (size_t i = 0; i < count; ++i) {
        names += strlen(table[i].name) + 1;
        if (!keel_size_mul(table[i].rows, table[i].cols, &size)) return false;
        if (!add_padded(&plan->elements, size, PADDING)) return false;
    }
    if (!keel_size_mul(plan->elements, sizeof(keel_real), &size)) return false;
    plan->offsets = count * sizeof *table;
    plan->names = plan->offsets + count * sizeof(size_t);
    plan->data = plan->names + names;
    plan->bytes = plan->data;
    return add_padded(&plan->bytes, size, 1) && add_padded(&plan->bytes, ALIGNMENT, 1);
}

keel_status keel_params_make(keel_params *params, const keel_param *table, size_t count, keel_err *err) {
    params_layout plan;
    unsigned char *block = plan_params(table, count, &plan) ? keel_calloc(1, plan.bytes) : NULL;
    if (!block)
        return keel_fail(err, KEEL_E_NOMEM, "keel_params_make", "no memory for %zu parameters", count);
    keel_params made = {.count = count, .size = plan.elements};
    made.table = (keel_param *)(void *)block;
    made.offset = (size_t *)(void *)(block + plan.offsets);
    unsigned char *data = block + plan.data;
    made.data = (keel_real *)(void *)(data + (ALIGNMENT - (uintptr_t)data % ALIGNMENT) % ALIGNMENT);
    char *name = (char *)block + plan.names;
    size_t at = 0;
    for (size_t i = 0; i < count; ++i) {
        made.table[i] = table[i];
        made.table[i].name = strcpy(name, table[i].name);
        name += strlen(name) + 1;
        made.offset[i] = at;
        add_padded(&at, table[i].rows * table[i].cols, PADDING);
    }
    *params = made;
    return KEEL_OK;
}

static double draw_initial(const keel_param *param, keel_rng *rng) {
    switch (param->init) {
    case KEEL_INIT_ZERO:
        return 0;
    case KEEL_INIT_ONE:
        return 1;
    case KEEL_INIT_UNIFORM:
        return (2 * keel_rng_uniform(rng) - 1) / sqrt(param->scale);
    case KEEL_INIT_NORMAL:
        return param->scale * keel_rng_normal(rng);
    }
    return 0;
}

void keel_params_init(keel_params *params, keel_rng *rng) {
    for (size_t i = 0; i < params->count; ++i) {
        const keel_param *param = &params->table[i];
        keel_real *data = keel_params_at(params, i);
        for (size_t j = 0; j < param->rows * param->cols; ++j) data[j] = (keel_real)draw_initial(param, rng);
    }
}

void keel_params_free(keel_params *params) {
    keel_free(params->table);
    *params = (keel_params){0};
}

keel_real *keel_params_at(const keel_params *params, size_t index) {
    return params->data + keel_params_offset(params, index);
}

size_t keel_params_offset(const keel_params *params, size_t index) {
    return params->offset[index] - params->start;
}

keel_params keel_params_from(const keel_params *params, size_t first) {
    keel_params view = *params;
    const size_t skipped = first < params->count ? keel_params_offset(params, first) : params->size;
    view.count -= first;
    view.table += first;
    view.offset += first;
    view.start += skipped;
    view.size -= skipped;
    view.data += skipped;
    return view;
}
