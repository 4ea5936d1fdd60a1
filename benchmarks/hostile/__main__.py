"""Run every hostile case, or some: `python -m benchmarks.hostile --help` says which."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.hostile.cases import KINDS, all_cases
from benchmarks.hostile.documents import unreached
from benchmarks.hostile.prepared import prepared
from benchmarks.hostile.running import LIMIT_S, Outcome, run_all

SLOWEST = 5
"""Cases that are named for the time that they take."""


def main() -> int:
    """Run the cases, print the table and the offenders; 1 where there are any."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hostile", description="Run every hostile case."
    )
    parser.add_argument("--seed", type=int, default=1, help="of the sample and the pairs")
    parser.add_argument("--only", default="", help="cases whose group or description holds this text")
    parser.add_argument("--sample", type=int, help="so many cases, drawn by the seed [all]")
    parser.add_argument("--pairs", type=int, default=300, help="pairs of legal extremes")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="processor seconds for a case")
    parser.add_argument("--out", type=Path, help="write how each case ended there, a line of JSON each")
    options = parser.parse_args()
    cases = [
        case
        for case in all_cases(options.seed, options.pairs)
        if options.only in f"{case.group}: {case.what}"
    ]
    if options.sample is not None:
        cases = random.Random(options.seed).sample(cases, min(options.sample, len(cases)))
    prepared()
    outcomes = []
    for outcome in run_all(cases, limit_s=options.limit):
        outcomes.append(outcome)
        if options.out is not None:
            with options.out.open("a") as file:
                file.write(json.dumps(outcome.row()) + "\n")
        if outcome.is_offence:
            print(f"{outcome.ending}: {outcome.case.what} ({outcome.seconds:.1f} s, {outcome.mb:.0f} MB)")
            print(f"    {outcome.said}", flush=True)
    for kind in KINDS:
        for key in unreached(kind):
            print(f"no document has {kind} {key}")
    print(table(outcomes))
    print("\nslowest, in processor time:")
    for outcome in sorted(outcomes, key=lambda outcome: -outcome.seconds)[:SLOWEST]:
        print(f"{outcome.seconds:6.1f} s, {outcome.mb:5.0f} MB, {outcome.ending}: {outcome.case.what}")
    return int(any(outcome.is_offence for outcome in outcomes))


def table(outcomes: Iterable[Outcome]) -> str:
    """How many cases of each group ended how, in Markdown."""
    outcomes = list(outcomes)
    endings = sorted({outcome.ending for outcome in outcomes})
    groups = list(dict.fromkeys(outcome.case.group for outcome in outcomes))
    counts = Counter((outcome.case.group, outcome.ending) for outcome in outcomes)
    rows = [["cases", *endings], ["---"] * (len(endings) + 1)]
    rows += [[group, *(str(counts[group, ending]) for ending in endings)] for group in groups]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
