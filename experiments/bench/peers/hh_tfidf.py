#!/usr/bin/env python3
"""HH-RLHF by TF-IDF and logistic regression, on the folds of Keel's recipe hh-rlhf.

    hh_tfidf.py STORE      a store made by keel import --format hh-rlhf ...

A linear score of a response, fitted on the differences (chosen - rejected) of its TF-IDF, as a Bradley-Terry model
is; accuracy is the share of held-out pairs whose chosen response scores higher, ties half. scikit-learn's defaults
throughout, so nothing is tuned on the folds that judge.
"""
import sys

import numpy as np
from scipy.sparse import vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from folds import FOLDS, percent, rows

SQL = """SELECT c.group_hash, p.text, n.text
         FROM conversations c JOIN decisions d ON d.conversation_id = c.id
         JOIN candidates p ON p.decision_id = d.id AND p.feedback > 0
         JOIN candidates n ON n.decision_id = d.id AND n.feedback < 0 ORDER BY d.id"""


def accuracy(pairs):
    group = np.array([p[0] for p in pairs])
    chosen, rejected = (np.array([p[k] for p in pairs], dtype=object) for k in (1, 2))
    right = 0.0
    for fold in range(FOLDS):
        held = group % FOLDS == fold
        vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        vectors.fit(np.concatenate([chosen[~held], rejected[~held]]))
        x = vectors.transform(chosen) - vectors.transform(rejected)
        both, sign = vstack([x[~held], -x[~held]]), np.repeat([1, 0], (~held).sum())
        fit = LogisticRegression(fit_intercept=False, max_iter=1000).fit(both, sign)
        score = fit.decision_function(x[held])
        right += (score > 0).sum() + (score == 0).sum() / 2
    return right


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: hh_tfidf.py STORE")
    pairs = rows(sys.argv[1], SQL)
    if not pairs:
        sys.exit(f"{sys.argv[1]}: no pairs of responses; import HH-RLHF")
    print(f"{len(pairs)} pairs; chosen preferred, %, with 95 % interval")
    print(f"TF-IDF logistic regression  {percent(accuracy(pairs), len(pairs))}")
