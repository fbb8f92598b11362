"""The words that the judge's normaliser knows, out of public English texts (rewards/judges/README.md).

usage: judge_words.py DATA > words.bin, DATA with the folders hh-rlhf, refusalbench and k-overrefusal

One 64-bit number, little-endian, for each word of a to z and inner apostrophes that at least LEAST texts have: the
upper 56 bits of its hash (keel_hash64, seed 0) and, in the lower 8, 16 log2(rank + 2), rank 0 for the most frequent.
Ascending. XSTest, on which the judge is tested, takes no part.
"""
import collections
import glob
import gzip
import json
import math
import re
import struct
import sys
import unicodedata

import judge_logs

LEAST = 3
RUN = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


def texts(data):
    for path in sorted(glob.glob(data + "/hh-rlhf/**/*.jsonl.gz", recursive=True)):
        for row in map(json.loads, gzip.open(path, "rt", encoding="utf8")):
            yield row["chosen"]
            yield row["rejected"].split("Assistant:")[-1]
    for rows in (judge_logs.refusalbench(data, undecided=True), judge_logs.k_overrefusal(data)):
        for _, _, response, _ in rows:
            yield response


def words(text):
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'").replace("\u2018", "'")
    return [word for word in RUN.findall(text) if WORD.fullmatch(word)]


def hash64(text):
    h, mask = 0xCBF29CE484222325, (1 << 64) - 1
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 & mask
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & mask
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & mask
    return h ^ h >> 33


def main(data):
    uses, within = collections.Counter(), collections.Counter()
    for text in texts(data):
        said = words(text)
        uses.update(said)
        within.update(set(said))
    known = sorted((word for word in uses if within[word] >= LEAST), key=lambda word: (-uses[word], word))
    rows = sorted(hash64(word) & ~0xFF | round(16 * math.log2(rank + 2)) for rank, word in enumerate(known))
    sys.stdout.buffer.write(struct.pack(f"<{len(rows)}Q", *rows))


if __name__ == "__main__":
    main(sys.argv[1])
