"""What the baselines share: the folds of a Keel store (datasets/split.c) and Wilson's interval."""
import math
import sqlite3
import sys

FOLDS = 5


def rows(path, sql):
    """Rows of a query; the store is opened for reading only."""
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return db.execute(sql).fetchall()
    except sqlite3.Error as error:
        sys.exit(f"{path}: {error}; expected a store made by keel import")


def wilson(k, n, z=1.959963984540054):
    """95 % interval of a share (Wilson 1927)."""
    if n == 0:
        return math.nan, math.nan, math.nan
    p, q = k / n, z * z / n
    half = z * math.sqrt((p * (1 - p) + q / 4) / n) / (1 + q)
    middle = (p + q / 2) / (1 + q)
    return p, middle - half, middle + half


def percent(k, n):
    return "{:5.1f} [{:5.1f}, {:5.1f}]".format(*(100 * x for x in wilson(k, n)))
