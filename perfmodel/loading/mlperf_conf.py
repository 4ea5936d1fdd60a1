"""MLPerf inference's `mlperf.conf` and `user.conf`: lines of `model.Scenario.key = value`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal, NamedTuple

from perfmodel.domain.bounds import LEAST_RATE_QPS, MOST_RATE_QPS
from perfmodel.errors import InputError
from perfmodel.loading.text_file import read_lines
from perfmodel.loading.words import quoted
from perfmodel.units import MS

LoadGenScenario = Literal["Server", "Offline"]
SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline", "*")
_WORD = re.compile(r"\S+")
_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|\d+)\Z")


class _Written(NamedTuple):
    """A value and where it stands, `file:line:column`."""

    value: float
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadGenTarget:
    """What LoadGen asks of a run.

    Attributes
    ----------
    model, scenario : str
        Whose values these are.
    target_qps : float or None
        Rate that is offered (Server, queries/s) or expected (Offline, samples/s); None: no file says.
    latency_s : float or None
        Target latency of the Server scenario; None of the Offline one, which has none. [s]
    percentile : float
        A fraction.
    min_queries : int
        Fewest queries of a run; samples of the Offline scenario, which is one query.
    min_duration_s : float
        Shortest run. [s]
    unused : tuple of (str, str)
        Files of which no value counts here, and a key that stands in each.
    """

    model: str
    scenario: LoadGenScenario
    target_qps: float | None
    latency_s: float | None
    percentile: float
    min_queries: int
    min_duration_s: float
    unused: tuple[tuple[str, str], ...] = ()

    def num_queries(self, rate_qps: float) -> int:
        """Queries of a run at this rate: enough for its duration and its count. [queries]"""
        return max(self.min_queries, round(rate_qps * self.min_duration_s))


BUILT_IN: Mapping[str, float] = {
    "*.Server.target_latency": 10.0,
    "*.Server.target_latency_percentile": 99.0,
    "*.Server.min_duration": 600_000.0,
    "dlrm.Server.target_latency": 30.0,
    "dlrm.Server.min_query_count": 270_336.0,
    "dlrm-v2.Server.target_latency": 60.0,
    "dlrm-v3.Server.target_latency": 80.0,
    "*.Offline.target_latency_percentile": 90.0,
    "*.Offline.min_duration": 600_000.0,
    "dlrm.Offline.min_query_count": 24_576.0,
    "dlrm-v2.Offline.min_query_count": 24_576.0,
}
"""What LoadGen brings itself and reads before any file, of recommendation. Times in ms.

mlcommons/inference at b66003e, loadgen/mlperf.conf; of `dlrm`, which left after v3.0, mlperf.conf at tag
v3.0: 30 ms as in all of its rounds, v0.7 to v3.0, and 270,336 queries (`*.Server` then). Files since v3.1
write 60 ms for it, when nobody could submit it any more.
"""
BENCHMARKS = ("dlrm", "dlrm-v2", "dlrm-v3")
"""Benchmarks of recommendation, by their names in these files."""
ACCURACIES = ("-99", "-99.9")
"""Submissions name a benchmark with its accuracy target, `dlrm-v2-99.9`; LoadGen's files do not."""


def benchmark_of(name: str) -> str:
    """The name of a benchmark in LoadGen's files.

    Examples
    --------
    >>> benchmark_of("dlrm-v2-99.9"), benchmark_of("dlrm-v3"), benchmark_of("bst")
    ('dlrm-v2', 'dlrm-v3', 'bst')
    """
    for known in BENCHMARKS:
        if name in (known, *(known + accuracy for accuracy in ACCURACIES)):
            return known
    return name


def read_target(
    paths: Sequence[Path], model: str, scenario: LoadGenScenario, *, built_in: bool = False
) -> LoadGenTarget:
    """Read what LoadGen asks of a model; a later file goes before an earlier one.

    Within a file `model.Scenario.key` goes before `*.Scenario.key`, that before `model.*.key`, and `*.*.key`
    comes last, as in LoadGen's `TestSettings::FromConfig`; what no file says is LoadGen's own default.

    Parameters
    ----------
    paths : sequence of Path
        `mlperf.conf`, then `user.conf`, say.
    model : str
        As the files call it: `dlrm-v2`.
    scenario : {"Server", "Offline"}
        Other scenarios have no arrivals of their own.
    built_in : bool
        Whether `BUILT_IN` comes before the files, as in LoadGen itself; a model that neither it nor a file
        names is refused then.

    Raises
    ------
    InputError
        At the first line that cannot be read, or the value that cannot be used, `file:line:column: …`.
    """
    files = [_read(path) for path in paths]
    for_this = tuple(f"{of}.{when}." for of in (model, "*") for when in (scenario, "*"))
    unused = tuple(
        (str(path), next(iter(file)))
        for path, file in zip(paths, files, strict=True)
        if file and not any(key.startswith(for_this) for key in file)
    )
    if built_in:
        if model not in BENCHMARKS and not any(key.startswith(f"{model}.") for file in files for key in file):
            known = ", ".join(BENCHMARKS)
            raise InputError(
                f"benchmark: expected {known}, or one that a --conf file names, got {quoted(model)}; "
                "--benchmark NAME asks it of this model by the rules of one"
            )
        files.insert(0, {key: _Written(value, f"mlperf.conf: {key}") for key, value in BUILT_IN.items()})

    def find(key: str) -> _Written | None:
        keys = (f"{model}.{scenario}", f"*.{scenario}", f"{model}.*", "*.*")
        written = (file.get(f"{prefix}.{key}") for file in reversed(files) for prefix in keys)
        return next((value for value in written if value is not None), None)

    percentile = find("target_latency_percentile")
    latency = find("target_latency") if scenario == "Server" else None
    count, duration, rate = find("min_query_count"), find("min_duration"), find("target_qps")
    for given in (latency, rate):
        if given is not None and given.value <= 0.0:
            raise InputError(f"{given.place}: expected a number > 0, got {given.value:g}")
    if rate is not None and not LEAST_RATE_QPS <= rate.value <= MOST_RATE_QPS:
        expected = f"expected a rate from {LEAST_RATE_QPS:g} to {MOST_RATE_QPS:g}"
        raise InputError(f"{rate.place}: {expected}, got {rate.value:g}")
    if percentile is not None and not 0.0 < percentile.value < 100.0:
        expected = "expected a percentile between 0 and 100, such as 99"
        raise InputError(f"{percentile.place}: {expected}, got {percentile.value:g}")
    for given in (count, duration):
        if given is not None and (given.value < 0.0 or not given.value.is_integer()):
            raise InputError(f"{given.place}: expected an integer from 0 on, got {given.value:g}")
    return LoadGenTarget(
        model=model,
        scenario=scenario,
        target_qps=None if rate is None else rate.value,
        latency_s=(_DEFAULT_LATENCY_S if latency is None else latency.value * MS)
        if scenario == "Server"
        else None,
        percentile=_DEFAULT_PERCENTILE[scenario] if percentile is None else percentile.value / 100.0,
        min_queries=_DEFAULT_COUNT if count is None else int(count.value),
        min_duration_s=_DEFAULT_DURATION_S if duration is None else duration.value * MS,
        unused=unused,
    )


_DEFAULT_LATENCY_S = 0.1
_DEFAULT_PERCENTILE: Mapping[LoadGenScenario, float] = {"Server": 0.99, "Offline": 0.9}
_DEFAULT_COUNT = 100
_DEFAULT_DURATION_S = 10.0
"""LoadGen's own (loadgen/test_settings.h): 100 ms, p99, 100 queries, 10 s; p90 as mlperf.conf has it."""


def _read(path: Path) -> dict[str, _Written]:
    """Read all values of a file by their keys; the last of a key counts."""
    found = {}
    for number, line in enumerate(read_lines(path), start=1):
        words = list(_WORD.finditer(line.partition("#")[0]))
        if not words:
            continue
        texts = [word.group() for word in words]
        column = words[0].start() + 1
        if len(texts) != 3 or texts[1] != "=":
            expected = "expected 'model.Scenario.key = value' with spaces around the ="
            raise InputError(f"{path}:{number}:{column}: {expected}, got {quoted(line.strip())}")
        parts = texts[0].rsplit(".", 2)
        if len(parts) != 3 or parts[1] not in SCENARIOS or not all(parts):
            expected = f"expected a key model.Scenario.name with one of {', '.join(SCENARIOS)}"
            raise InputError(f"{path}:{number}:{column}: {expected}, got {quoted(texts[0])}")
        place = f"{path}:{number}:{words[2].start() + 1}"
        found[texts[0]] = _Written(_number(texts[2], place), f"{place}: {texts[0]}")
    return found


def _number(text: str, place: str) -> float:
    """A number in decimal or hexadecimal, as strtoull and strtod take it."""
    try:
        value = float(int(text, 0)) if _INTEGER.match(text) and "x" in text.lower() else float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise InputError(f"{place}: expected a number, got {quoted(text)}")
    return value
