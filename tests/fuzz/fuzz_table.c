/* The CSV reader: every row has the header's fields, and what they hold is no longer than the input. */
#include "datasets/csv.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    keel__csv csv;
    size_t line = 0, last = 0, total = 0;
    char *text = fuzz_text(data, size);
    if (fuzz_ok(keel__csv_open(&csv, "input.csv", text, size, &fuzz_err))) {
        FUZZ_CHECK(csv.n_columns > 0 && csv.n_columns <= KEEL__CSV_MAX_COLUMNS);
        (void)keel__csv_column(&csv, "id");
        while (fuzz_ok(keel__csv_next(&csv, &line, &fuzz_err)) && line) {
            FUZZ_CHECK(line > last);
            last = line;
            for (size_t i = 0; i < csv.n_columns; i++) total += strlen(csv.fields[i]);
        }
        FUZZ_CHECK(total <= size);
    }
    free(text);
    return 0;
}
