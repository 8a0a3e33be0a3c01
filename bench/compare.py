"""Compares two files of JSON lines written by ./dev bench --json and flags what changed by more than the spread.

    compare.py OLD NEW [--slack FRACTION]

A figure with a limit is compared by its ratio to the limit, which a busy machine disturbs less than the figure itself. The
spread is the larger of the slack and what the old and new minimum and maximum say. Exit status 1 when something got worse.
"""

import argparse
import json
import sys
from pathlib import Path

SMALLER_IS_BETTER = ("s", "ms", "ns")


def load(path):
    rows = (json.loads(line) for line in Path(path).read_text().splitlines() if line.strip())
    return {(row["id"], row["variant"]): row for row in rows}


def score(row):
    """The number to compare, larger is better."""
    if row["ratio"] is not None:
        return row["ratio"]
    if row["ours"] is None:
        return None
    return 1 / row["ours"] if row["unit"].split()[0] in SMALLER_IS_BETTER and row["ours"] else row["ours"]


def spread(row):
    """How far a half of the samples may lie from the median, as a fraction."""
    if not row["ours"] or row["min"] is None or row["max"] is None:
        return 0.0
    return (row["max"] - row["min"]) / row["ours"] / 4


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--slack", type=float, default=0.1, help="a change up to this fraction is never flagged (0.1)")
    options = parser.parse_args()
    old, new = load(options.old), load(options.new)
    worse = 0
    for key in sorted(old.keys() | new.keys()):
        name = " ".join(key)
        if key not in old or key not in new:
            print(f"        {name}: only in the {'new' if key in new else 'old'} file")
            continue
        before, after = score(old[key]), score(new[key])
        if not before or not after:
            continue
        allowed = max(options.slack, spread(old[key]), spread(new[key]))
        change = after / before - 1
        verdict = "WORSE " if change < -allowed else "better" if change > allowed else "      "
        worse += verdict == "WORSE "
        print(f"{verdict}  {name}: {change:+.1%} (allowed {allowed:.0%}): {before:.4g} -> {after:.4g}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
