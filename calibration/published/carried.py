"""A stack carried to servers that its fit has not seen: `perfplan dev carried`.

The HPCA 2020 stack of one server, with another's data sheet by the rule of derived profiles, held against the
figures of that other server, which the base's constants were not fitted to; and calibrated machines' stacks,
held against passes that were measured on others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import fmean

from calibration.published.carried_measured import measured_table
from calibration.published.carried_precisions import precisions_table
from calibration.published.compare import shipped_devices, shipped_models
from calibration.published.figures import all_points
from calibration.published.observations import Point, read_rows
from perfmodel.loading.derived_profile import DerivedFile, HardwareChanges, derived, distance, read_profile
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.shipped import find_file
from perfmodel.loading.yaml_source import parse_yaml

STACK = "hpca2020"
SERVERS = ("broadwell", "haswell", "skylake")
_FIGURES = ("cpu_latency_hpca2020_fig8.csv", "cpu_latency_hpca2020_text.csv")
"""Single models: how long one batch takes on one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A stack on another server than its own.

    Attributes
    ----------
    base, server : str
        Whose costs, and whose hardware.
    distance : float
        Between their hardware. [ln]
    points : sequence of Point
        The server's figures beside what the carried stack predicts.
    """

    base: str
    server: str
    distance: float
    points: Sequence[Point]

    @property
    def mean_error(self) -> float:
        """Mean absolute error. [1]"""
        return fmean(abs(point.error) for point in self.points)

    @property
    def spread(self) -> float:
        """Root mean square of the logarithm. [ln]"""
        return sqrt(fmean(point.log_error**2 for point in self.points))


def carried(base: str, server: str) -> Carried:
    """Carry the base's stack to a server, and predict that server's figures."""
    own, target = (read_profile(find_file("profile", name)) for name in (base, server))
    changes = changes_to(own, target)
    given = DerivedFile(name=server, base=base, changes=changes, stacks=(STACK,))
    profile = derived(given, own, parse_yaml(f"name: {server}\nbase: {base}\n", f"{server}.yaml"))
    devices = shipped_devices() | {(server, STACK): profile.device(STACK)}
    points = [
        point
        for point in all_points(list(_FIGURES), shipped_models(), devices)
        if point.headline and f", {server}," in point.label
    ]
    return Carried(base=base, server=server, distance=distance(own, changes), points=points)


def changes_to(own: ProfileFile, target: ProfileFile) -> HardwareChanges:
    """What a data sheet says of the target and not of the base; the clock's ratio from the same table."""
    clock = {row["name"]: float(row["frequency_ghz"]) for row in read_rows("platforms.csv")}
    stated = {
        key: getattr(target.hardware, key)
        for key in HardwareChanges.model_fields
        if key != "clock_ratio" and getattr(target.hardware, key) is not None
    }
    source = "datasheet: clocks of HPCA 2020 Table II"
    ratio = {"value": clock[target.name] / clock[own.name], "source": source}
    plain = {key: value.model_dump() for key, value in stated.items()}
    return HardwareChanges.model_validate(plain | {"clock_ratio": ratio})


def table(found: Sequence[Carried]) -> Iterator[str]:
    """Each point, then a line for each pair. Markdown."""
    yield "| stack of | on | case | published | predicted | error |"
    yield "|---|---|---|---|---|---|"
    for each in found:
        for point in each.points:
            values = f"{point.published:.4g} | {point.predicted:.4g} | {100 * point.error:+.1f} %"
            yield f"| {each.base} | {each.server} | {point.label} | {values} |"
    yield ""
    yield "| stack of | on | distance [ln] | values | mean error | spread [ln] | spread over distance |"
    yield "|---|---|---|---|---|---|---|"
    for each in found:
        slope = each.spread / each.distance
        yield (
            f"| {each.base} | {each.server} | {each.distance:.2f} | {len(each.points)} "
            f"| {100 * each.mean_error:.1f} % | {each.spread:.2f} | {slope:.2f} |"
        )
    slopes = [each.spread / each.distance for each in found]
    yield ""
    yield f"spread over distance, geometric mean: {exp(fmean(log(slope) for slope in slopes)):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the stack of one server, or of each, on the others."""
    parser = argparse.ArgumentParser(prog="perfplan dev carried", description=__doc__)
    parser.add_argument("--base", choices=SERVERS, help="whose stack; by default each in turn")
    given = parser.parse_args(arguments)
    bases = SERVERS if given.base is None else (given.base,)
    pairs = [(base, server) for base in bases for server in SERVERS if server != base]
    print("\n".join(table([carried(base, server) for base, server in pairs])))
    if given.base is None:
        print("\n".join(["", *measured_table(), "", *precisions_table()]))


if __name__ == "__main__":
    main()
