#include "experiments/recipe.h"

#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "rl/judge/evaluate.h"

enum { MAX_VARIABLES = 16, MAX_ROUNDS = 10000, MAX_TEXT = 1 << 16 };

typedef struct variable {
    const char *name, *value;
} variable;

typedef struct loading {
    keel_recipe *recipe;
    const char *path;
    const keel_recipe_places *places;
    variable variables[MAX_VARIABLES]; /* those of inner loops last */
    size_t n_variables;
    size_t rounds; /* of all loops so far */
    bool *used;    /* by setting */
} loading;

/* ---- text ---- */

static keel_status hint_data(keel_err *err) {
    return keel_hint(err, "say where the data is: --data DIR, or the environment variable KEEL_DATA");
}

static const char *variable_value(const loading *load, const char *name, size_t length) {
    for (size_t i = load->n_variables; i-- > 0;)
        if (strlen(load->variables[i].name) == length && memcmp(load->variables[i].name, name, length) == 0)
            return load->variables[i].value;
    return NULL;
}

/* A variable that is unknown (value NULL), or ${data} without a folder. */
static keel_status fail_variable(const loading *load, const char *name, int length, const char *value,
                                 keel_err *err) {
    if (!value) return keel_fail(err, KEEL_E_PARSE, load->path, "unknown variable %.*s", length, name);
    keel_fail(err, KEEL_E_NOT_FOUND, load->path, "needs data, and no folder of data is given");
    return hint_data(err);
}

/* Copies text into the recipe's arena with each ${name} replaced. */
static keel_status substitute(loading *load, const char *text, const char **out, keel_err *err) {
    keel_buf buf = {0};
    keel_buf_text(&buf, "");
    while (*text) {
        const char *open = strstr(text, "${"), *close = open ? strchr(open, '}') : NULL;
        if (!close) break;
        const char *value = variable_value(load, open + 2, (size_t)(close - open - 2));
        if (!value || (!*value && value == load->variables[0].value)) {
            keel_buf_free(&buf);
            return fail_variable(load, open, (int)(close - open + 1), value, err);
        }
        keel_buf_append(&buf, text, (size_t)(open - text));
        keel_buf_text(&buf, value);
        if (buf.length > MAX_TEXT) {
            keel_buf_free(&buf);
            return keel_fail(err, KEEL_E_PARSE, load->path, "a text of more than %d bytes", MAX_TEXT);
        }
        text = close + 1;
    }
    keel_buf_text(&buf, text);
    const char *copy = buf.failed ? NULL : keel_arena_strdup(&load->recipe->arena, buf.data ? buf.data : "");
    keel_buf_free(&buf);
    if (!copy) return keel_nomem(err, NULL);
    *out = copy;
    return KEEL_OK;
}

/* A text, or a number in the shortest form that reads back. */
static keel_status value_text(loading *load, const cJSON *value, const char *where, const char **out,
                              keel_err *err) {
    if (cJSON_IsString(value)) return substitute(load, value->valuestring, out, err);
    if (!cJSON_IsNumber(value)) return keel_fail(err, KEEL_E_PARSE, where, "expected a text or a number");
    keel_buf buf = {0};
    keel_json_put_number(&buf, value->valuedouble);
    *out = buf.failed ? NULL : keel_arena_strdup(&load->recipe->arena, buf.data);
    keel_buf_free(&buf);
    return *out ? KEEL_OK : keel_nomem(err, NULL);
}

static keel_status check_keys(const cJSON *object, const char *const *known, const char *where,
                              keel_err *err) {
    const char *unknown = keel_json_unknown(object, known);
    if (!unknown) return KEEL_OK;
    keel_fail(err, KEEL_E_PARSE, where, "unknown key \"%s\"", unknown);
    const char *nearest = keel_nearest(unknown, known);
    return nearest ? keel_hint(err, "did you mean \"%s\"?", nearest) : KEEL_E_PARSE;
}

/* ---- loops ---- */

/* What is done for each binding of a loop's variables. */
typedef struct loop_body {
    keel_status (*run)(loading *load, const struct loop_body *body, keel_err *err);
    const cJSON *json; /* what the loop repeats */
    void *user;
} loop_body;

/* Loops in loops repeat more often than anybody can wait for. */
static keel_status count_round(loading *load, keel_err *err) {
    if (load->rounds++ < MAX_ROUNDS) return KEEL_OK;
    return keel_fail(err, KEEL_E_PARSE, load->path, "for: more than %d rounds", MAX_ROUNDS);
}

static keel_status bind(loading *load, const cJSON *named, const cJSON *value, keel_err *err) {
    const char *text;
    if (load->n_variables == MAX_VARIABLES)
        return keel_fail(err, KEEL_E_PARSE, load->path, "for: more than %d variables at once", MAX_VARIABLES);
    KEEL_TRY(value_text(load, value, load->path, &text, err));
    load->variables[load->n_variables++] = (variable){named->string, text};
    return KEEL_OK;
}

/* {"k": [0, 1], "a": ["x", "y"]}: every combination of the variables from `named` on. */
static keel_status loop_product(loading *load, const cJSON *named, const loop_body *body, keel_err *err) {
    const cJSON *value;
    if (!named) return body->run(load, body, err);
    if (!cJSON_IsArray(named))
        return keel_fail(err, KEEL_E_PARSE, load->path, "for: \"%s\" needs an array", named->string);
    cJSON_ArrayForEach (value, named) {
        KEEL_TRY(count_round(load, err));
        KEEL_TRY(bind(load, named, value, err));
        KEEL_TRY(loop_product(load, named->next, body, err));
        load->n_variables--;
    }
    return KEEL_OK;
}

/* [{"k": 0, "a": "x"}, {"k": 1, "a": "y"}]: one binding after the other. */
static keel_status loop_list(loading *load, const cJSON *bindings, const loop_body *body, keel_err *err) {
    const cJSON *binding, *named;
    size_t outer = load->n_variables;
    cJSON_ArrayForEach (binding, bindings) {
        if (!cJSON_IsObject(binding))
            return keel_fail(err, KEEL_E_PARSE, load->path, "for: expected objects that name variables");
        KEEL_TRY(count_round(load, err));
        cJSON_ArrayForEach (named, binding) KEEL_TRY(bind(load, named, named, err));
        KEEL_TRY(body->run(load, body, err));
        load->n_variables = outer;
    }
    return KEEL_OK;
}

/* {"for": ..., KEY: what is repeated}. */
static keel_status loop(loading *load, const cJSON *object, const char *key, loop_body body, keel_err *err) {
    const char *const known[] = {"for", key, NULL};
    const cJSON *variables = cJSON_GetObjectItemCaseSensitive(object, "for");
    KEEL_TRY(check_keys(object, known, load->path, err));
    body.json = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!body.json) return keel_fail(err, KEEL_E_PARSE, load->path, "for: \"%s\" is missing", key);
    if (cJSON_IsArray(variables)) return loop_list(load, variables, &body, err);
    if (cJSON_IsObject(variables)) return loop_product(load, variables->child, &body, err);
    return keel_fail(err, KEEL_E_PARSE, load->path, "for: expected an object or an array of objects");
}

/* ---- one step ---- */

typedef struct argument_list {
    const char **items;
    size_t count, capacity;
} argument_list;

static keel_status push(loading *load, argument_list *list, const char *text, keel_err *err) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 16;
        const char **items = keel_arena_calloc(&load->recipe->arena, capacity, sizeof *items);
        if (!items) return keel_nomem(err, NULL);
        if (list->count) memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = text;
    return KEEL_OK;
}

/* The values that a recipe's value stands for, each after its flag's name (none: NULL). */
typedef struct value_list {
    argument_list *list;
    const char *flag, *where;
} value_list;

static keel_status push_values(loading *load, const cJSON *value, value_list *to, keel_err *err);

static keel_status push_looped(loading *load, const loop_body *body, keel_err *err) {
    return push_values(load, body->json, body->user, err);
}

static keel_status push_values(loading *load, const cJSON *value, value_list *to, keel_err *err) {
    const cJSON *item;
    const char *text;
    if (cJSON_IsObject(value))
        return loop(load, value, "value", (loop_body){.run = push_looped, .user = to}, err);
    if (cJSON_IsArray(value)) {
        cJSON_ArrayForEach (item, value) KEEL_TRY(push_values(load, item, to, err));
        return KEEL_OK;
    }
    KEEL_TRY(value_text(load, value, to->where, &text, err));
    if (to->flag) KEEL_TRY(push(load, to->list, to->flag, err));
    return push(load, to->list, text, err);
}

static keel_status push_flag(loading *load, argument_list *list, const cJSON *value, const char *where,
                             keel_err *err) {
    char flag[80];
    snprintf(flag, sizeof flag, "--%.70s", value->string);
    const char *name = keel_arena_strdup(&load->recipe->arena, flag);
    if (!name) return keel_nomem(err, NULL);
    if (cJSON_IsTrue(value)) return push(load, list, name, err);
    return push_values(load, value, &(value_list){list, name, where}, err);
}

static bool verb_has(const keel_verb *verb, const char *name, size_t length) {
    for (const keel_flag *flag = verb->flags; flag->name; flag++)
        if (strlen(flag->name + 2) == length && memcmp(flag->name + 2, name, length) == 0) return true;
    return false;
}

/* The setting's "FLAG=VALUE" if it is for a step of that name; "train*" is for all that start so. */
const char *keel_recipe_setting_for(const char *setting, const char *step) {
    size_t length = strcspn(setting, ".");
    if (setting[length] != '.' || length == 0) return NULL;
    bool prefix = setting[length - 1] == '*';
    size_t compared = prefix ? length - 1 : length;
    bool same = strncmp(setting, step, compared) == 0 && (prefix || step[compared] == '\0');
    return same ? setting + length + 1 : NULL;
}

/* Whether a setting replaces this flag of the step. */
static bool is_replaced(const loading *load, const keel_step *step, const char *key) {
    for (size_t i = 0; i < load->places->n_settings; i++) {
        const char *rest = keel_recipe_setting_for(load->places->settings[i], step->name);
        const char *equals = rest ? strchr(rest, '=') : NULL;
        if (equals && strlen(key) == (size_t)(equals - rest) && memcmp(key, rest, strlen(key)) == 0)
            return true;
    }
    return false;
}

static keel_status push_settings(loading *load, const keel_step *step, argument_list *list, keel_err *err) {
    keel_arena *arena = &load->recipe->arena;
    for (size_t i = 0; i < load->places->n_settings; i++) {
        const char *rest = keel_recipe_setting_for(load->places->settings[i], step->name);
        const char *equals = rest ? strchr(rest, '=') : NULL;
        if (!equals) continue;
        load->used[i] = true;
        bool is_flag = verb_has(step->verb, rest, (size_t)(equals - rest));
        keel_buf flag = {0};
        keel_buf_format(&flag, "--%.*s", is_flag ? (int)(equals - rest) : 3, is_flag ? rest : "set");
        const char *name = flag.failed ? NULL : keel_arena_strdup(arena, flag.data);
        keel_buf_free(&flag);
        const char *value = keel_arena_strdup(arena, is_flag ? equals + 1 : rest);
        if (!name || !value) return keel_nomem(err, NULL);
        KEEL_TRY(push(load, list, name, err));
        KEEL_TRY(push(load, list, value, err));
    }
    return KEEL_OK;
}

/* The values of --set against the verb's table of keys, or that of the name on this command line. */
static keel_status check_keys_set(keel_cli *cli, keel_err *err) {
    const char *const *settings;
    size_t count;
    KEEL_TRY(keel_cli_values(cli, "--set", &settings, &count, err));
    const keel_option *table = cli->verb->options ? cli->verb->options[0] : NULL;
    if (cli->named >= 0) table = cli->verb->named->table(cli->named);
    for (size_t i = 0; table && i < count; i++) KEEL_TRY(keel_cli_assign(cli, table, NULL, settings[i], err));
    return KEEL_OK;
}

/* Parses the step's command line as the program would, so that a bad recipe fails before its first step runs.
 */
static keel_status check_step(const keel_step *step, const char *where, keel_err *err) {
    keel_cli cli;
    keel_err inner = {0};
    bool help = false;
    keel_status status = keel_cli_parse(&cli, step->verb, step->argc, step->argv, &help, &inner);
    if (status == KEEL_OK) status = check_keys_set(&cli, &inner);
    keel_cli_free(&cli);
    if (status == KEEL_OK) return KEEL_OK;
    keel_fail(err, status, where, "%s%s%s", inner.where, inner.where[0] ? ": " : "", inner.message);
    return inner.hint[0] ? keel_hint(err, "%s", inner.hint) : status;
}

static keel_status add_step(loading *load, const keel_step *step, keel_err *err) {
    keel_recipe *recipe = load->recipe;
    for (size_t i = 0; i < recipe->n_steps; i++)
        if (strcmp(recipe->steps[i].name, step->name) == 0)
            return keel_fail(err, KEEL_E_PARSE, load->path, "two steps are called \"%s\"", step->name);
    if (recipe->n_steps == recipe->capacity) {
        size_t capacity = recipe->capacity ? 2 * recipe->capacity : 32;
        keel_step *steps = keel_arena_calloc(&recipe->arena, capacity, sizeof *steps);
        if (!steps) return keel_nomem(err, NULL);
        if (recipe->n_steps) memcpy(steps, recipe->steps, recipe->n_steps * sizeof *steps);
        recipe->steps = steps;
        recipe->capacity = capacity;
    }
    recipe->steps[recipe->n_steps++] = *step;
    return KEEL_OK;
}

/* Whether the step's `if` and `unless` let it run. */
static keel_status wanted(loading *load, const cJSON *object, const char *where, bool *out, keel_err *err) {
    const char *path = NULL, *present = NULL;
    *out = true;
    KEEL_TRY(keel_json_string(object, "if", false, &path, where, err));
    if (path) {
        KEEL_TRY(substitute(load, path, &present, err));
        *out = keel_file_exists(present) || keel_file_is_folder(present);
    }
    path = NULL;
    KEEL_TRY(keel_json_string(object, "unless", false, &path, where, err));
    if (path) {
        KEEL_TRY(substitute(load, path, &present, err));
        if (keel_file_exists(present) || keel_file_is_folder(present)) *out = false;
    }
    return KEEL_OK;
}

/* Names become file names in the run folder. */
static keel_status check_name(const char *name, const char *where, keel_err *err) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    if (name[0] != '\0' && strlen(name) <= 64 && name[strspn(name, allowed)] == '\0') return KEEL_OK;
    return keel_fail(err, KEEL_E_PARSE, where,
                     "a step's name is 1 to 64 letters, digits, - and _; got \"%s\"", name);
}

static keel_status step_arguments(loading *load, const cJSON *object, keel_step *step, const char *where,
                                  keel_err *err) {
    const cJSON *args = NULL, *words = NULL, *item;
    argument_list list = {0};
    KEEL_TRY(keel_json_object(object, "args", false, &args, where, err));
    KEEL_TRY(keel_json_array(object, "positional", false, &words, where, err));
    cJSON_ArrayForEach (item, args) {
        if (!is_replaced(load, step, item->string)) KEEL_TRY(push_flag(load, &list, item, where, err));
    }
    KEEL_TRY(push_settings(load, step, &list, err));
    if (words) KEEL_TRY(push_values(load, words, &(value_list){&list, NULL, where}, err));
    step->argv = list.items;
    step->argc = list.count;
    return KEEL_OK;
}

/* Names of metrics with commas between them. */
static keel_status check_columns(const char *columns, const char *where, keel_err *err) {
    for (const char *at = columns; at; at = *at ? at + 1 : NULL) {
        const size_t length = strcspn(at, ",");
        int m = 0;
        while (m < KEEL_N_METRICS &&
               (strlen(keel_metric_names[m]) != length || strncmp(keel_metric_names[m], at, length) != 0))
            m++;
        if (m == KEEL_N_METRICS)
            return keel_fail(err, KEEL_E_PARSE, where, "columns: no metric is called \"%.*s\"", (int)length,
                             at);
        at += length;
    }
    return KEEL_OK;
}

static keel_status load_step(loading *load, const cJSON *object, keel_err *err) {
    static const char *const known[] = {"name", "title",      "group", "columns", "verb",
                                        "args", "positional", "if",    "unless",  NULL};
    const char *name = NULL, *title = NULL, *group = NULL, *columns = NULL, *verb = NULL;
    char where[400];
    keel_step step = {0};
    bool run = true;
    KEEL_TRY(keel_json_string(object, "name", true, &name, load->path, err));
    KEEL_TRY(substitute(load, name, &step.name, err));
    snprintf(where, sizeof where, "%.300s: step %.80s", load->path, step.name);
    KEEL_TRY(check_keys(object, known, where, err));
    KEEL_TRY(check_name(step.name, where, err));
    KEEL_TRY(wanted(load, object, where, &run, err));
    if (!run) return KEEL_OK;
    KEEL_TRY(keel_json_string(object, "verb", true, &verb, where, err));
    KEEL_TRY(keel_json_string(object, "title", false, &title, where, err));
    KEEL_TRY(keel_json_string(object, "group", false, &group, where, err));
    KEEL_TRY(keel_json_string(object, "columns", false, &columns, where, err));
    KEEL_TRY(substitute(load, title ? title : name, &step.title, err));
    if (columns) KEEL_TRY(substitute(load, columns, &step.columns, err));
    if (columns) KEEL_TRY(check_columns(step.columns, where, err));
    if (group) KEEL_TRY(substitute(load, group, &step.group, err));
    keel_status found = keel_verb_find(verb, &step.verb, err);
    if (found != KEEL_OK && err) snprintf(err->where, sizeof err->where, "%.319s", where);
    if (found != KEEL_OK) return found;
    if (strcmp(verb, "run") == 0 || strcmp(verb, "search") == 0 || strcmp(verb, "auto") == 0)
        return keel_fail(err, KEEL_E_PARSE, where, "a recipe cannot run recipes, nor search");
    KEEL_TRY(step_arguments(load, object, &step, where, err));
    KEEL_TRY(check_step(&step, where, err));
    return add_step(load, &step, err);
}

/* ---- the recipe ---- */

static keel_status load_steps(loading *load, const loop_body *body, keel_err *err) {
    const cJSON *item;
    if (!cJSON_IsArray(body->json))
        return keel_fail(err, KEEL_E_PARSE, load->path, "\"steps\" needs an array");
    cJSON_ArrayForEach (item, body->json) {
        if (!cJSON_IsObject(item)) return keel_fail(err, KEEL_E_PARSE, load->path, "steps: expected objects");
        if (cJSON_HasObjectItem(item, "for"))
            KEEL_TRY(loop(load, item, "steps", (loop_body){.run = load_steps}, err));
        else
            KEEL_TRY(load_step(load, item, err));
    }
    return KEEL_OK;
}

static keel_status check_needs(loading *load, const cJSON *recipe, keel_err *err) {
    const cJSON *needs = NULL, *item;
    KEEL_TRY(keel_json_array(recipe, "needs", false, &needs, load->path, err));
    cJSON_ArrayForEach (item, needs) {
        const char *path;
        KEEL_TRY(value_text(load, item, load->path, &path, err));
        if (keel_file_exists(path) || keel_file_is_folder(path)) continue;
        keel_fail(err, KEEL_E_NOT_FOUND, load->path, "needs \"%s\", which is not there", path);
        return hint_data(err);
    }
    return KEEL_OK;
}

static keel_status check_settings(const loading *load, keel_err *err) {
    for (size_t i = 0; i < load->places->n_settings; i++) {
        if (load->used[i]) continue;
        keel_fail(err, KEEL_E_USAGE, load->places->settings[i], "no step of the recipe answers to it");
        return keel_hint(err, "expected STEP.FLAG=VALUE or STEP.KEY=VALUE with a step's name as in %s",
                         load->path);
    }
    return KEEL_OK;
}

static keel_status load_recipe(loading *load, const cJSON *json, keel_err *err) {
    static const char *const known[] = {"name", "about", "needs", "steps", NULL};
    keel_recipe *recipe = load->recipe;
    const cJSON *steps = NULL;
    const char *name = NULL, *about = "";
    KEEL_TRY(check_keys(json, known, load->path, err));
    KEEL_TRY(keel_json_string(json, "name", true, &name, load->path, err));
    KEEL_TRY(keel_json_string(json, "about", false, &about, load->path, err));
    KEEL_TRY(keel_json_array(json, "steps", true, &steps, load->path, err));
    KEEL_TRY(check_needs(load, json, err));
    KEEL_TRY(substitute(load, name, &recipe->name, err));
    KEEL_TRY(substitute(load, about, &recipe->about, err));
    KEEL_TRY(load_steps(load, &(loop_body){.json = steps}, err));
    return check_settings(load, err);
}

keel_status keel_recipe_read(keel_recipe *recipe, const cJSON *json, const char *path,
                             const keel_recipe_places *places, keel_err *err) {
    *recipe = (keel_recipe){0};
    loading load = {.recipe = recipe, .path = path, .places = places, .n_variables = 2};
    load.variables[0] = (variable){"data", places->data};
    load.variables[1] = (variable){"out", places->out};
    load.used = keel_arena_calloc(&recipe->arena, places->n_settings + 1, sizeof *load.used);
    if (!load.used) return keel_nomem(err, NULL);
    return cJSON_IsObject(json) ? load_recipe(&load, json, err)
                                : keel_fail(err, KEEL_E_PARSE, path, "expected an object");
}

keel_status keel_recipe_load(keel_recipe *recipe, const char *path, const keel_recipe_places *places,
                             keel_err *err) {
    cJSON *json = NULL;
    *recipe = (keel_recipe){0};
    KEEL_TRY(keel_json_parse_file(path, &json, err));
    keel_status status = keel_recipe_read(recipe, json, path, places, err);
    cJSON_Delete(json);
    return status;
}

void keel_recipe_free(keel_recipe *recipe) {
    keel_arena_free(&recipe->arena);
    *recipe = (keel_recipe){0};
}

/* ---- what steps take ---- */

static bool table_has(const keel_option *table, const char *key) {
    for (; table && table->key; table++)
        if (strcmp(table->key, key) == 0) return true;
    return false;
}

bool keel_recipe_is_named_key(const keel_verb *verb, const char *key) {
    for (int i = 0; verb->named && verb->named->name(i); i++)
        if (table_has(verb->named->table(i), key)) return true;
    return false;
}

/* A configuration key, of the name with this index or, below 0, of any. */
static bool verb_takes(const keel_verb *verb, int name, const char *key, bool any) {
    for (size_t i = 0; verb->options && verb->options[i]; i++)
        if (table_has(verb->options[i], key)) return true;
    for (int i = 0; verb->named && verb->named->name(i); i++)
        if ((any || i == name) && table_has(verb->named->table(i), key)) return true;
    return false;
}

bool keel_recipe_step_takes(const keel_step *step, const char *key, bool any) {
    keel_cli cli;
    bool help = false, takes = false;
    if (verb_has(step->verb, key, strlen(key)) && !keel_recipe_is_named_key(step->verb, key)) return true;
    if (keel_cli_parse(&cli, step->verb, step->argc, step->argv, &help, NULL) == KEEL_OK) {
        /* A folder, say: what it holds is known when the step runs. */
        const bool unnamed =
            step->verb->named && cli.named < 0 && keel_cli_has(&cli, step->verb->named->flag);
        takes = verb_takes(step->verb, cli.named, key, any || unnamed);
    }
    keel_cli_free(&cli);
    return takes;
}
