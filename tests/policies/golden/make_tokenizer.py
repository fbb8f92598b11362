"""Golden tokens: a small WordPiece tokenizer as the library `tokenizers` writes it, and what it makes of texts.

    pip install tokenizers && python make_tokenizer.py      (made with 0.23.3)
"""
import json
import os

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

here = os.path.dirname(os.path.abspath(__file__))
words = """[PAD] [UNK] [CLS] [SEP] [MASK] how do i bake bread ? un ##aff ##able ##s run ##ning cafe na ##ive ! . , ' $ 北 京 한 ##ᆫ
a ##b ##c i ##stanbul e ##̀ ss ##ß ß x 1 ##2 ##3 - the ##re t s""".split()
vocabulary = {}
for word in words:
    vocabulary.setdefault(word, len(vocabulary))
tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=12))
tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")])
tokenizer.add_special_tokens([AddedToken("[MASK]", special=True, normalized=False, lstrip=True)])
tokenizer.add_tokens([AddedToken("<word>", normalized=False, single_word=True, rstrip=True)])
tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, lowercase=True)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])])
tokenizer.save(os.path.join(here, "tokenizer.json"), pretty=False)
texts = ["How do I bake bread?", "unaffable running runs", "Café naïve NAÏVE CAFE\u0301", "北京 a 北b", "", "   ", "\u200bzero\u00adwidth the\u200bre", "abcabc abcabcabcabc abcabcabcabca",
         "x[SEP]y [MASK] a", "a <word> b", "a<word>b", "<word>   the", "İstanbul ß ẞ", "한 \ud55c", "a\tb\nc\u0085d\u3000e", "$1-23'S!?...", "the\x01re \ufffda", "qqq aq", "a\u0301b ࣠"]
pairs = [("How do I bake bread?", "Bake the bread."), ("", "a")]
golden = {"texts": [{"text": t, "ids": tokenizer.encode(t, add_special_tokens=False).ids, "framed": tokenizer.encode(t).ids} for t in texts],
          "pairs": [{"first": a, "second": b, "ids": tokenizer.encode(a, b).ids, "types": tokenizer.encode(a, b).type_ids} for a, b in pairs]}
with open(os.path.join(here, "tokens.json"), "w", encoding="utf-8") as out:
    json.dump(golden, out, ensure_ascii=False, indent=1)
    out.write("\n")
