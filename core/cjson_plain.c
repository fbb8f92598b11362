/* The functions of cJSON that Keel calls, over cJSON's own values (<cjson/cJSON.h>): for programs that are to
 * be static, because Debian has cJSON as a shared library alone. Reading and printing are Keel's anyhow
 * (json_read.c, json.c); what is here makes, finds, moves and frees values, as the header says. A chain's
 * first item has its last as `prev`. */
#include <cjson/cJSON.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static cJSON_Hooks memory = {malloc, free};

void cJSON_InitHooks(cJSON_Hooks *hooks) {
    memory.malloc_fn = hooks && hooks->malloc_fn ? hooks->malloc_fn : malloc;
    memory.free_fn = hooks && hooks->free_fn ? hooks->free_fn : free;
}

void *cJSON_malloc(size_t size) {
    return memory.malloc_fn(size);
}

void cJSON_free(void *object) {
    memory.free_fn(object);
}

/* ---- making and freeing ---- */

static char *copy_text(const char *text) {
    const size_t size = text ? strlen(text) + 1 : 0;
    char *copy = text ? cJSON_malloc(size) : NULL;
    return copy ? memcpy(copy, text, size) : NULL;
}

static cJSON *make(int type) {
    cJSON *item = cJSON_malloc(sizeof *item);
    if (item) *item = (cJSON){.type = type};
    return item;
}

void cJSON_Delete(cJSON *item) {
    for (cJSON *next; item; item = next) {
        next = item->next;
        if (!(item->type & cJSON_IsReference)) {
            cJSON_Delete(item->child);
            if (item->valuestring) cJSON_free(item->valuestring);
        }
        if (item->string && !(item->type & cJSON_StringIsConst)) cJSON_free(item->string);
        cJSON_free(item);
    }
}

cJSON *cJSON_CreateNull(void) {
    return make(cJSON_NULL);
}

cJSON *cJSON_CreateTrue(void) {
    return make(cJSON_True);
}

cJSON *cJSON_CreateBool(cJSON_bool boolean) {
    return make(boolean ? cJSON_True : cJSON_False);
}

cJSON *cJSON_CreateArray(void) {
    return make(cJSON_Array);
}

cJSON *cJSON_CreateObject(void) {
    return make(cJSON_Object);
}

cJSON *cJSON_CreateNumber(double number) {
    cJSON *item = make(cJSON_Number);
    if (item) cJSON_SetNumberHelper(item, number);
    return item;
}

cJSON *cJSON_CreateString(const char *string) {
    cJSON *item = make(cJSON_String);
    if (item && (item->valuestring = copy_text(string))) return item;
    cJSON_Delete(item);
    return NULL;
}

cJSON *cJSON_CreateObjectReference(const cJSON *child) {
    cJSON *item = make(cJSON_Object | cJSON_IsReference);
    if (item) item->child = (cJSON *)child;
    return item;
}

double cJSON_SetNumberHelper(cJSON *object, double number) {
    object->valueint = number >= INT_MAX ? INT_MAX : number <= (double)INT_MIN ? INT_MIN : (int)number;
    return object->valuedouble = number;
}

char *cJSON_SetValuestring(cJSON *object, const char *valuestring) {
    char *copy =
        cJSON_IsString(object) && !(object->type & cJSON_IsReference) ? copy_text(valuestring) : NULL;
    if (!copy) return NULL;
    cJSON_free(object->valuestring);
    return object->valuestring = copy;
}

static cJSON *copy_item(const cJSON *item) {
    cJSON *copy = make(item->type & ~(cJSON_IsReference | cJSON_StringIsConst));
    if (!copy) return NULL;
    copy->valueint = item->valueint;
    copy->valuedouble = item->valuedouble;
    copy->valuestring = copy_text(item->valuestring);
    copy->string = copy_text(item->string);
    if (!copy->valuestring == !item->valuestring && !copy->string == !item->string) return copy;
    cJSON_Delete(copy);
    return NULL;
}

cJSON *cJSON_Duplicate(const cJSON *item, cJSON_bool recurse) {
    cJSON *copy = item ? copy_item(item) : NULL;
    for (const cJSON *child = copy && recurse ? item->child : NULL; child; child = child->next) {
        cJSON *more = cJSON_Duplicate(child, recurse);
        if (!more) {
            cJSON_Delete(copy);
            return NULL;
        }
        cJSON_AddItemToArray(copy, more);
    }
    return copy;
}

/* ---- looking ---- */

static bool is(const cJSON *item, int types) {
    return item && (item->type & 0xFF & types);
}

cJSON_bool cJSON_IsFalse(const cJSON *item) {
    return is(item, cJSON_False);
}

cJSON_bool cJSON_IsTrue(const cJSON *item) {
    return is(item, cJSON_True);
}

cJSON_bool cJSON_IsBool(const cJSON *item) {
    return is(item, cJSON_True | cJSON_False);
}

cJSON_bool cJSON_IsNull(const cJSON *item) {
    return is(item, cJSON_NULL);
}

cJSON_bool cJSON_IsNumber(const cJSON *item) {
    return is(item, cJSON_Number);
}

cJSON_bool cJSON_IsString(const cJSON *item) {
    return is(item, cJSON_String);
}

cJSON_bool cJSON_IsArray(const cJSON *item) {
    return is(item, cJSON_Array);
}

cJSON_bool cJSON_IsObject(const cJSON *item) {
    return is(item, cJSON_Object);
}

char *cJSON_GetStringValue(const cJSON *item) {
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

double cJSON_GetNumberValue(const cJSON *item) {
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

int cJSON_GetArraySize(const cJSON *array) {
    int size = 0;
    for (const cJSON *item = array ? array->child : NULL; item; item = item->next) size++;
    return size;
}

cJSON *cJSON_GetArrayItem(const cJSON *array, int index) {
    cJSON *item = array && index >= 0 ? array->child : NULL;
    while (item && index-- > 0) item = item->next;
    return item;
}

cJSON *cJSON_GetObjectItemCaseSensitive(const cJSON *object, const char *string) {
    cJSON *item = object && string ? object->child : NULL;
    while (item && !(item->string && strcmp(item->string, string) == 0)) item = item->next;
    return item;
}

cJSON_bool cJSON_HasObjectItem(const cJSON *object, const char *string) {
    const cJSON *item;
    cJSON_ArrayForEach (item, object) {
        if (string && item->string && strcasecmp(item->string, string) == 0) return true;
    }
    return false;
}

static bool same_number(double a, double b) {
    return fabs(a - b) <= fmax(fabs(a), fabs(b)) * DBL_EPSILON;
}

/* Whether each member of a is one of b too. */
static bool holds(const cJSON *a, const cJSON *b) {
    const cJSON *item;
    cJSON_ArrayForEach (item, a) {
        if (!cJSON_Compare(item, cJSON_GetObjectItemCaseSensitive(b, item->string), true)) return false;
    }
    return true;
}

static bool same_items(const cJSON *a, const cJSON *b) {
    const cJSON *one = a->child, *other = b->child;
    for (; one && other; one = one->next, other = other->next)
        if (!cJSON_Compare(one, other, true)) return false;
    return !one && !other;
}

/* Keys by case, whatever is asked: Keel asks for nothing else. */
cJSON_bool cJSON_Compare(const cJSON *a, const cJSON *b, cJSON_bool case_sensitive) {
    (void)case_sensitive;
    if (!a || !b || (a->type & 0xFF) != (b->type & 0xFF)) return false;
    switch (a->type & 0xFF) {
    case cJSON_Number:
        return same_number(a->valuedouble, b->valuedouble);
    case cJSON_String:
    case cJSON_Raw:
        return a->valuestring && b->valuestring && strcmp(a->valuestring, b->valuestring) == 0;
    case cJSON_Array:
        return same_items(a, b);
    case cJSON_Object:
        return holds(a, b) && holds(b, a);
    default:
        return (a->type & (cJSON_False | cJSON_True | cJSON_NULL)) != 0;
    }
}

/* ---- adding ---- */

static void append(cJSON *to, cJSON *item) {
    cJSON *first = to->child, *last = first ? first->prev : NULL;
    item->next = NULL;
    item->prev = last ? last : item;
    if (last) last->next = item;
    if (!first) to->child = first = item;
    first->prev = item;
}

cJSON_bool cJSON_AddItemToArray(cJSON *array, cJSON *item) {
    if (!array || !item || array == item) return false;
    append(array, item);
    return true;
}

cJSON_bool cJSON_AddItemToObject(cJSON *object, const char *string, cJSON *item) {
    char *key = object && item && object != item ? copy_text(string) : NULL;
    if (!key) return false;
    if (item->string && !(item->type & cJSON_StringIsConst)) cJSON_free(item->string);
    item->type &= ~cJSON_StringIsConst;
    item->string = key;
    append(object, item);
    return true;
}

/* The item, which is the object's from now on; deleted, and NULL, without memory. */
static cJSON *add(cJSON *object, const char *name, cJSON *item) {
    if (cJSON_AddItemToObject(object, name, item)) return item;
    cJSON_Delete(item);
    return NULL;
}

cJSON *cJSON_AddNullToObject(cJSON *object, const char *name) {
    return add(object, name, cJSON_CreateNull());
}

cJSON *cJSON_AddTrueToObject(cJSON *object, const char *name) {
    return add(object, name, cJSON_CreateTrue());
}

cJSON *cJSON_AddBoolToObject(cJSON *object, const char *name, cJSON_bool boolean) {
    return add(object, name, cJSON_CreateBool(boolean));
}

cJSON *cJSON_AddNumberToObject(cJSON *object, const char *name, double number) {
    return add(object, name, cJSON_CreateNumber(number));
}

cJSON *cJSON_AddStringToObject(cJSON *object, const char *name, const char *string) {
    return add(object, name, cJSON_CreateString(string));
}

cJSON *cJSON_AddObjectToObject(cJSON *object, const char *name) {
    return add(object, name, cJSON_CreateObject());
}

cJSON *cJSON_AddArrayToObject(cJSON *object, const char *name) {
    return add(object, name, cJSON_CreateArray());
}

/* ---- taking out ---- */

cJSON *cJSON_DetachItemViaPointer(cJSON *parent, cJSON *item) {
    if (!parent || !item || !parent->child) return NULL;
    cJSON *first = parent->child, *last = first->prev;
    if (item != first) item->prev->next = item->next;
    if (item->next) item->next->prev = item->prev;
    if (item == first) parent->child = item->next;
    if (item == last && item != first) first->prev = item->prev;
    item->prev = item->next = NULL;
    return item;
}

cJSON *cJSON_DetachItemFromObjectCaseSensitive(cJSON *object, const char *string) {
    return cJSON_DetachItemViaPointer(object, cJSON_GetObjectItemCaseSensitive(object, string));
}

void cJSON_DeleteItemFromObjectCaseSensitive(cJSON *object, const char *string) {
    cJSON_Delete(cJSON_DetachItemFromObjectCaseSensitive(object, string));
}

void cJSON_DeleteItemFromArray(cJSON *array, int which) {
    cJSON_Delete(cJSON_DetachItemViaPointer(array, cJSON_GetArrayItem(array, which)));
}
