"""Compare the shipped profiles with every published figure: a table of mean errors, and each point.

`perfplan dev compare` prints the table that the README shows; `--points` every point.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import fmean

from calibration.published.figures import FIGURES, Point, all_points, is_deviation
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.loading.derived_profile import read_profile
from perfmodel.loading.shipped import find_file, shipped_names
from perfmodel.loading.validated import parse_file


def shipped_models() -> dict[str, RecModel]:
    """Read every shipped model, by name."""
    return {name: parse_file(find_file("model", name), RecModel) for name in shipped_names("model")}


def shipped_devices() -> dict[tuple[str, str], Device]:
    """Read every shipped profile, one device for each of its stacks."""
    profiles = [read_profile(find_file("profile", name)) for name in shipped_names("profile")]
    return {(profile.name, stack): profile.device(stack) for profile in profiles for stack in profile.stacks}


def compare_shipped() -> list[Point]:
    """Every published point with what the shipped profiles predict."""
    return all_points(list(FIGURES), shipped_models(), shipped_devices())


def comparison_table(points: Sequence[Point]) -> str:
    """One line a figure: how many values, mean and worst absolute error; deviations apart. Markdown."""
    lines = ["| published figure | values | mean error | worst |", "|---|---|---|---|"]
    for figure, (source, _) in FIGURES.items():
        own = [point for point in points if point.figure == figure and point.headline]
        for said, apart in (("", False), (", left as deviations", True)):
            if counted := [point for point in own if is_deviation(point) == apart]:
                lines.append(f"| {source} (`{figure}`){said} | {_summary(counted)} |")
    return "\n".join(lines)


def _summary(points: Sequence[Point]) -> str:
    worst = max(points, key=lambda point: abs(point.error))
    mean = _error(worst, fmean(abs(point.error) for point in points)).removeprefix("+")
    return f"{len(points)} | {mean} | {_error(worst, worst.error)} ({worst.label}, {worst.quantity})"


def points_table(points: Sequence[Point]) -> str:
    """One line a value, parts of totals included. Markdown."""
    lines = ["| figure | case | quantity | published | predicted | error |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {point.figure} | {point.label} | {point.quantity} | {point.published:.4g} "
        f"| {point.predicted:.4g} | {_error(point, point.error)} |"
        for point in points
    ]
    return "\n".join(lines)


def _error(point: Point, error: float) -> str:
    return f"{100 * error:+.1f} %" if point.unit == "relative" else f"{error:+.1f} pp"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(prog="perfplan dev compare", description=__doc__)
    parser.add_argument("--points", action="store_true", help="print every value")
    given = parser.parse_args(arguments)
    points = compare_shipped()
    print(points_table(points) if given.points else comparison_table(points))


if __name__ == "__main__":
    main()
