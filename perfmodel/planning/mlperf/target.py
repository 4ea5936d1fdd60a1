"""What LoadGen asks of a scenario: by the files that submitters write, and by the benchmark's name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perfmodel.errors import InputError
from perfmodel.loading.mlperf_conf import (
    BENCHMARKS,
    LoadGenScenario,
    LoadGenTarget,
    benchmark_of,
    read_target,
)
from perfmodel.planning.question import Question


def mlperf_target(
    question: Question,
    scenario: LoadGenScenario = "Server",
    *,
    benchmark: str | None = None,
    conf: Sequence[Path] = (),
) -> LoadGenTarget:
    """Read what LoadGen asks of a question's model.

    Parameters
    ----------
    question : Question
        Its model is the benchmark where none is named.
    scenario : {"Server", "Offline"}
        Of LoadGen.
    benchmark : str, optional
        As LoadGen's files call it; `-99` and `-99.9` are left off.
    conf : sequence of Path
        `user.conf`, or `mlperf.conf` and `user.conf`.

    Raises
    ------
    InputError
        If there is no such benchmark, or a file cannot be read.
    """
    name = benchmark if benchmark is not None else question.node.model_name
    if name is None:
        known = ", ".join(BENCHMARKS)
        raise InputError(f"--benchmark: expected one of {known}: a table of service times has no model")
    return read_target(conf, benchmark_of(name), scenario, built_in=True)
