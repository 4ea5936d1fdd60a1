"""perfplan: how much recommendation traffic can this hardware serve within its SLA?

The commands' answers, from Python: a function a question, called with a shipped scenario's name, the path of
a file, what such a file says, or a scenario made before.

>>> import perfmodel
>>> answer = perfmodel.predict("rm3_skylake", overrides=["simulation.precision=0.05"])
>>> answer.verdict, answer.to_dict()["offered_qps"]
('meets_sla', 400.0)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from perfmodel.errors import (
    ExtrapolationError,
    InputError,
    InterruptionError,
    Note,
    PerfplanError,
    UndecidedError,
    UnstableError,
)

if TYPE_CHECKING:
    __version__: str

    from perfmodel.domain.scenario import Scenario
    from perfmodel.library.capacity import Capacity, capacity
    from perfmodel.library.deeprecsys import DeepRecSys, deeprecsys
    from perfmodel.library.diff import Diff, diff
    from perfmodel.library.explain import Explanation, explain
    from perfmodel.library.fleet import FleetPrediction, fleet
    from perfmodel.library.latency import LatencyTable, LatencyTables, latency
    from perfmodel.library.map import DeviceMap, map_devices
    from perfmodel.library.mlperf import MlperfAnswer, mlperf
    from perfmodel.library.observe import Observation, observe
    from perfmodel.library.plan import PlanAnswer, plan
    from perfmodel.library.predict import Prediction, predict
    from perfmodel.library.shipped import models, profiles, scenarios
    from perfmodel.library.sweep import Sweep, sweep
    from perfmodel.library.trace import TraceSummary, trace
    from perfmodel.library.tune import TuneAnswer, tune
    from perfmodel.library.tune_stages import StageTuning, tune_stages
    from perfmodel.loading.scenario_file import LoadedScenario, load_scenario
    from perfmodel.report.documents.schemas import document_schema

__all__ = [
    "Capacity",
    "DeepRecSys",
    "DeviceMap",
    "Diff",
    "Explanation",
    "ExtrapolationError",
    "FleetPrediction",
    "InputError",
    "InterruptionError",
    "LatencyTable",
    "LatencyTables",
    "LoadedScenario",
    "MlperfAnswer",
    "Note",
    "Observation",
    "PerfplanError",
    "PlanAnswer",
    "Prediction",
    "Scenario",
    "StageTuning",
    "Sweep",
    "TraceSummary",
    "TuneAnswer",
    "UndecidedError",
    "UnstableError",
    "capacity",
    "deeprecsys",
    "diff",
    "document_schema",
    "explain",
    "fleet",
    "latency",
    "load_scenario",
    "map_devices",
    "mlperf",
    "models",
    "observe",
    "plan",
    "predict",
    "profiles",
    "scenarios",
    "sweep",
    "trace",
    "tune",
    "tune_stages",
]

_HOMES = {
    "Scenario": "domain.scenario",
    "Capacity": "library.capacity",
    "capacity": "library.capacity",
    "DeepRecSys": "library.deeprecsys",
    "deeprecsys": "library.deeprecsys",
    "Diff": "library.diff",
    "diff": "library.diff",
    "Explanation": "library.explain",
    "explain": "library.explain",
    "FleetPrediction": "library.fleet",
    "fleet": "library.fleet",
    "LatencyTable": "library.latency",
    "LatencyTables": "library.latency",
    "latency": "library.latency",
    "DeviceMap": "library.map",
    "map_devices": "library.map",
    "MlperfAnswer": "library.mlperf",
    "mlperf": "library.mlperf",
    "PlanAnswer": "library.plan",
    "plan": "library.plan",
    "Prediction": "library.predict",
    "predict": "library.predict",
    "models": "library.shipped",
    "profiles": "library.shipped",
    "scenarios": "library.shipped",
    "Sweep": "library.sweep",
    "sweep": "library.sweep",
    "Observation": "library.observe",
    "observe": "library.observe",
    "TraceSummary": "library.trace",
    "trace": "library.trace",
    "TuneAnswer": "library.tune",
    "tune": "library.tune",
    "StageTuning": "library.tune_stages",
    "tune_stages": "library.tune_stages",
    "LoadedScenario": "loading.scenario_file",
    "load_scenario": "loading.scenario_file",
    "document_schema": "report.documents.schemas",
}
"""Where each name is made: `import perfmodel` alone loads nothing heavy, the first use does."""

if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> Any:
        if name == "__version__":  # as a document names it; reading it takes a while, and few ask
            return import_module(f"{__name__}.report.documents").perfplan_version()
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
