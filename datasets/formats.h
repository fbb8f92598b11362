/* The log formats that Keel reads: one table. A new format is one file with a reader, and one row in
 * formats.c. */
#ifndef KEEL_DATASETS_FORMATS_H
#define KEEL_DATASETS_FORMATS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/api.h"
#include "core/source.h"
#include "core/status.h"

KEEL_BEGIN_DECLS

enum { KEEL_FORMAT_FILES = 4, KEEL_FORMAT_COUNTS = 6, KEEL_SNIFF_NAMES = 64, KEEL_SNIFF_SIZE = 48 };

typedef enum keel_shape {
    KEEL_SHAPE_EMPTY,   /* nothing but white space */
    KEEL_SHAPE_OBJECTS, /* JSON objects, one after the other */
    KEEL_SHAPE_ARRAY,   /* one JSON array of objects */
    KEEL_SHAPE_TABLE    /* lines of fields with commas between them */
} keel_shape;

/* What the beginning of a source looks like. */
typedef struct keel_sniff {
    keel_shape shape;
    size_t n_names;
    char names[KEEL_SNIFF_NAMES][KEEL_SNIFF_SIZE]; /* keys of the first object, or columns; long ones cut */
    const char *text;                              /* [length] the beginning itself */
    size_t length;
} keel_sniff;

struct keel_reader_kind;

typedef struct keel_format {
    const char *name; /* as --format takes it; also the source of its conversations */
    const char *what; /* one line for help */
    const char
        *files[KEEL_FORMAT_FILES + 1]; /* patterns of file names in a folder, without ".gz" or ".zst" */
    struct {
        const char *name, *what; /* what its reader counts besides conversations */
    } counts[KEEL_FORMAT_COUNTS];
    const struct keel_reader_kind *reader;
} keel_format;

extern const keel_format keel_formats[];       /* ends with a row whose name is NULL */
extern const char *const keel_formats_names[]; /* the same names; NULL-terminated */

/* KEEL_E_USAGE, with the names that exist, for an unknown name. */
keel_status keel_formats_find(const char *name, const keel_format **out, keel_err *err);
/* Whether a file of this name, in a folder, is of the format (NULL: of any). */
bool keel_formats_match(const keel_format *format, const char *file_name);
/* Whether a file of this name, in a folder, may be a log at all: .json, .jsonl, .ndjson, .csv, .tsv, gzipped
 * or not. Its content says which. */
bool keel_formats_plausible(const char *file_name);

/* Fills sniff from the beginning of a source, which may be cut off anywhere. text must outlive it. */
void keel_formats_sniff(const char *text, size_t length, keel_sniff *out);
bool keel_formats_has(const keel_sniff *sniff, const char *name);      /* among the names */
bool keel_formats_calls(const keel_sniff *sniff, const char *name);    /* likewise, in letters of any case */
bool keel_formats_contains(const keel_sniff *sniff, const char *part); /* anywhere in the text */
/* The format that the content of the source looks like, KEEL_E_PARSE with the keys that it has if there is
 * none. An empty source is of the first format. Reads nothing away. */
keel_status keel_formats_detect(keel_source *source, const keel_format **out, keel_err *err);
/* Sets *format to another one if the content looks like that, and not at all like *format. */
void keel_formats_insist(keel_source *source, const keel_format **format);
/* The format of rows, csv or prompts, that the source may be; never NULL. */
const keel_format *keel_formats_of_rows(keel_source *source);

KEEL_END_DECLS

#endif
