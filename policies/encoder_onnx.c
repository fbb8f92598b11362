#include "policies/encoder_onnx.h"

#if KEEL_HAVE_ONNX

#include "core/file.h"
#include "policies/transformer/bert_matrix.h"
#include "policies/transformer/onnx.h"
#include "policies/transformer/peft.h"

keel_status keel_encoder_onnx(const char *from, const char *to, keel_err *err) {
    keel_bert *bert;
    if (keel_file_exists(to) || keel_file_is_folder(to))
        return keel_fail(err, KEEL_E_CONFLICT, to, "it is there already");
    KEEL_TRY(keel_peft_open(&bert, from, err));
    keel_status status = keel_bert_widen(bert, err);
    if (status == KEEL_OK) status = keel_onnx_save(bert, to, err);
    keel_bert_close(bert);
    return status;
}

#else

keel_status keel_encoder_onnx(const char *from, const char *to, keel_err *err) {
    (void)from;
    keel_fail(err, KEEL_E_UNSUPPORTED, to, "this keel was built without ONNX");
    return keel_hint(
        err, "install the packages libprotobuf-c-dev, protobuf-c-compiler and libonnx-dev, and build again");
}

#endif
