"""Logs of simulated nodes, read back: `python -m benchmarks.observe [--cases 50] [--queries 20000]`.

A row a case: what is true, what `perfplan observe` found, and whether it lies within the stated interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.observed_cases import Truth, truth, write_log
from perfmodel.loading.recordings.formats import read_recording
from perfmodel.planning.observe.executors import Executors, busy_at_start, find_executors
from perfmodel.planning.observe.log import checked_log
from perfmodel.planning.observe.times import ServiceFit, fit_times
from perfmodel.planning.observe.traffic import ArrivalFit, fit_arrivals

CLOCK_S = 1e-6
"""Of the stamps in the logs: service times are not known better. [s]"""


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """A case beside what its log was read as."""

    number: int
    truth: Truth
    arrivals: ArrivalFit
    mean_items: tuple[float, float]  # of the log, and its standard error
    times: ServiceFit
    executors: Executors

    @property
    def rate_holds(self) -> bool:
        """Whether the interval holds the rate."""
        return self.arrivals.rate_qps.holds(self.truth.arrivals.rate_qps or 0.0)

    @property
    def sizes_hold(self) -> bool:
        """Whether the mean size lies within its 95 % interval."""
        mean, error = self.mean_items
        return abs(mean - self.truth.sizes.mean_items) <= 1.96 * error + 1e-9

    @property
    def executors_hold(self) -> bool:
        """Whether they are found, or no more than they are where a lower bound is stated."""
        found = self.executors
        return found.number == self.truth.executors if found.exact else found.number <= self.truth.executors

    @property
    def row_errors(self) -> list[tuple[float, bool]]:
        """Error of each row that requests stand behind, and whether its interval holds the truth."""
        table_s = self.truth.service.cpu_s
        found = []
        for row in self.times.rows:
            if row.count < 30:
                continue
            # Of a log that tells no contention, the mean over those at work that it had.
            true_s = float(table_s[row.items - 1, (row.busy or 1) - 1])
            slack_s = CLOCK_S / 2
            holds = row.service_s.low - slack_s <= true_s <= row.service_s.high + slack_s
            found.append((row.service_s.value / true_s - 1.0, holds))
        return found

    @property
    def scatter_holds(self) -> bool:
        """Whether the relative standard deviation lies within its interval."""
        return self.times.relative_std.holds(self.truth.scatter) or (
            self.truth.scatter == 0.0 and self.times.scatter is None
        )


def recover(number: int, folder: Path, *, num_queries: int) -> Recovered:
    """Write the log of a case, and read it back."""
    case = truth(number)
    path = folder / f"case{number}.csv"
    write_log(case, path, num_queries=num_queries, seed=number, clock_s=CLOCK_S)
    log = checked_log(read_recording(path))
    path.unlink()
    busy = busy_at_start(log)
    executors = find_executors(log, busy)
    return Recovered(
        number=number,
        truth=case,
        arrivals=fit_arrivals(log.arrival_s),
        mean_items=(float(log.num_items.mean()), float(log.num_items.std() / np.sqrt(len(log.num_items)))),
        times=fit_times(log, busy, executors.number),
        executors=executors,
    )


def table(found: Sequence[Recovered]) -> str:
    """All cases, and how many of each figure lie within their intervals."""
    lines = [
        f"{'case':>4} {'rate':>16} {'process':>14} {'items':>12} {'executors':>14} {'rows within':>12} "
        f"{'worst row':>9} {'scatter':>14}"
    ]
    rows: list[tuple[float, bool]] = []
    for each in found:
        own = each.row_errors
        rows += own
        rate = f"{each.arrivals.rate_qps.value:.5g} of {each.truth.arrivals.rate_qps:.5g}"
        least = "" if each.executors.exact else ">="
        worst = max((abs(error) for error, _ in own), default=0.0)
        scatter = f"{each.times.relative_std.value:.3g} of {each.truth.scatter:g}"
        lines.append(
            f"{each.number:>4} {rate + _mark(each.rate_holds):>16} "
            f"{each.arrivals.process:>6} {each.truth.arrivals.process:>7} "
            f"{f'{each.mean_items[0]:.4g}' + _mark(each.sizes_hold):>12} "
            f"{f'{least}{each.executors.number} of {each.truth.executors}' + _mark(each.executors_hold):>14} "
            f"{sum(holds for _, holds in own):>5} of {len(own):<4} {100 * worst:>8.2g}% "
            f"{scatter + _mark(each.scatter_holds):>14}"
        )
    total, off = len(found), float(np.sqrt(np.mean([error**2 for error, _ in rows])))
    lines += [
        f"within the stated 95 % interval: rate {sum(each.rate_holds for each in found)} of {total}, "
        f"mean size {sum(each.sizes_hold for each in found)} of {total}, "
        f"executors {sum(each.executors_hold for each in found)} of {total} "
        f"({sum(each.executors.exact for each in found)} told exactly), "
        f"scatter {sum(each.scatter_holds for each in found)} of {total}, "
        f"service times {sum(holds for _, holds in rows)} of {len(rows)} rows",
        f"root mean square error of a row {100 * off:.2g} %",
    ]
    return "\n".join(lines)


def _mark(holds: bool) -> str:
    return " " if holds else "*"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--queries", type=int, default=20_000)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        print(
            table([recover(number, Path(folder), num_queries=asked.queries) for number in range(asked.cases)])
        )


if __name__ == "__main__":
    main()
