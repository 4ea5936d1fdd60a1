"""Files that hold every key there is, read off the shipped ones and the schemas, and each key's mutations."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from benchmarks.hostile.values import LADDER
from perfmodel.domain.hardware import LAYER_TERMS, MODULE_TERMS
from perfmodel.domain.model import RecModel
from perfmodel.domain.provision import FleetFile
from perfmodel.domain.scenario import Scenario
from perfmodel.loading.derived_profile import DerivedFile, measured_document
from perfmodel.loading.expectations import Expectations, keys_of
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.shipped import shipped_directory
from perfmodel.loading.surface_files import surface_files
from perfmodel.loading.yaml_source import parse_yaml, read_yaml
from perfmodel.loading.yaml_tree import KeyPath, Listing, Section, YamlSource, plain

Kind = Literal["scenario", "model", "profile", "derived", "fleet"]
Document = dict[str, Any]

_DUMPER = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper

TYPES: dict[Kind, type[BaseModel]] = {
    "scenario": Scenario,
    "model": RecModel,
    "profile": ProfileFile,
    "derived": DerivedFile,
    "fleet": FleetFile,
}
_DISCRIMINATORS = ("kind", "name", "process", "distribution")
_EVERY_CHANGE: Document = {
    "name": "mine",
    "base": "skylake",
    "description": "a machine",
    "stacks": ["hpca2020"],
    "changes": {
        "clock_ratio": 1.1,
        "sockets": 2,
        "cores_per_socket": 28,
        "threads_per_core": {"value": 1, "source": "datasheet: the maker"},
        "peak_gflop_per_s": 200,
        "l2_kib_per_core": 1024,
        "l3_mib_per_socket": 38.5,
        "l3_policy": {"value": "exclusive", "source": "datasheet: the maker"},
        "memory_gib": 256,
        "memory_gb_per_s_per_socket": 128,
        "tdp_w": 250,
        "idle_w": 80,
        "peak_w": 250,
    },
    "costs": {"fc_call_us": {"value": 4.0, "source": "assumed: a newer framework"}},
}
_MOST_ENTRIES = 2
"""Entries of a list that are kept: the others have the same keys."""

_SETTINGS = {"seed": 1, "precision": 0.1, "min_queries": 1000, "max_queries": 20_000}
_SHARDED: Document = {
    "node": {
        "cpu": "skylake",
        "price_usd_per_h": 1.5,
        "accelerators": [],
        "shards": {
            "count": 2,
            "by": "table",
            "replicas": 2,
            "network": {"latency_us": 50, "gb_per_s": 12.5, "serialise_us_per_kib": 0.5},
            "scatter": {"distribution": "lognormal", "relative_std": 0.5},
            "hot_rows": {"memory_gib": 1, "kept": "lru"},
            "node": {"cpu": "broadwell", "cores": 4, "price_usd_per_h": 0.5},
        },
    }
}
_WHAT_IFS: tuple[Document, ...] = (
    {"cpu": "skylake", "cores": 8, "instances": 2},
    {
        "cpu": "skylake",
        "engine": {
            "stored_batch_items": 100,
            "stored_index_ns": 50,
            "feed_call_us": 20,
            "hand_over_us": 100,
            "input_queue_blobs": 8,
            "interpreter_lock": 0.5,
            "conversion_slowdown": 1.5,
            "network_slowdown": 1.5,
        },
    },
    {
        "cpu": "skylake",
        "accelerators": [],
        "near_memory": {
            "ranks": 8,
            "cache_kib": 128,
            "scheduling": "table",
            "hot_entries": True,
            "packet_bags": 8,
            "channels": 8,
            "dram": "ddr4-2400",
        },
    },
    {
        "cpu": "skylake",
        "accelerators": [],
        "tiers": {
            "memory_gib": 1,
            "beyond": [
                {
                    "name": "ssd",
                    "capacity_gib": 100,
                    "latency_us": 90,
                    "gb_per_s": 7,
                    "reads_per_s": 1000000.0,
                    "read_bytes": 4096,
                    "reads_in_flight": 32,
                    "core_us_per_read": 1,
                    "host_memory": False,
                    "price_usd_per_h": 0.1,
                    "tdp_w": 10,
                    "source": "assumed: an SSD",
                }
            ],
        },
    },
    {
        "cpu": "intel-xeon-emerald-16c",
        "accelerators": ["t4"],
        "tiers": {
            "beyond": [
                {"name": "host", "capacity_gib": 9, "latency_us": 2, "link": "host", "source": "datasheet: x"}
            ]
        },
    },
)
"""Of nodes: an engine that does otherwise, memory that looks rows up, memories beyond the own one."""

_VARIANTS: tuple[Document, ...] = (
    {"node": {"cpu": "skylake", "price_usd_per_h": 1.5}},
    {"traffic": {"arrivals": {"process": "constant", "rate_qps": 100}}},
    {"traffic": {"arrivals": {"process": "deeprecsys-integer-ms", "rate_qps": 100}}},
    {"traffic": {"arrivals": {"process": "diurnal", "rate_qps": 100, "amplitude": 0.5, "period_s": 100}}},
    {
        "traffic": {
            "arrivals": {
                "process": "stages",
                "rate_qps": 100,
                "stages": [{"duration_s": 60, "rate_qps": 50, "to_qps": 150}],
            }
        }
    },
    {"traffic": {"arrivals": {"process": "closed", "users": 10, "think_s": 0.5}}},
    {"traffic": {"query_sizes": {"distribution": "fixed", "num_items": 100}}},
    {"traffic": {"query_sizes": {"distribution": "lognormal", "mu": 4, "sigma": 1, "min_items": 1}}},
    {"traffic": {"query_sizes": {"distribution": "normal", "mean_items": 90, "std_items": 9}}},
    {"traffic": {"query_sizes": {"distribution": "file", "file": "sizes.txt"}}},
    {"traffic": {"arrivals": {"process": "trace", "file": "trace.csv"}}},
    {"traffic": {"lengths": {"distribution": "fixed", "length": 50}}},
    {"traffic": {"lengths": {"distribution": "lognormal", "mu": 4, "sigma": 1, "min_length": 1}}},
    {"traffic": {"lengths": {"distribution": "file", "file": "sizes.txt"}}},
    {
        "traffic": {
            "arrivals": {"process": "poisson", "rate_qps": 100},
            "query_sizes": {"distribution": "fixed", "num_items": 100},
        },
        "pipeline": {
            "sub_batches": 2,
            "handover_ms": 0.1,
            "stages": [
                {
                    "name": "best",
                    "items": 50,
                    "model": "ncf",
                    "node": {"cpu": "skylake", "cores": 4},
                    "policy": {"name": "split", "batch_size": 25},
                },
                {
                    "items": 10,
                    "model": "ncf",
                    "cores": 4,
                    "policy": {"name": "split", "batch_size": 5},
                },
            ],
            "candidates": {
                "other": {
                    "node": {"cpu": "broadwell", "cores": 4},
                    "policy": {"name": "split", "batch_size": 10},
                }
            },
        },
    },
    {"policy": {"name": "split", "batch_size": 64, "share_query_work": True}},
    {"policy": {"name": "split", "batch_size": 64, "shedding": {"queue_limit_requests": 50}}},
    {"node": {"scatter": {"distribution": "lognormal", "relative_std": 0.2}}},
    {"node": {"scatter": {"distribution": "lognormal", "p99_over_p50": 1.5}}},
    {"node": {"pauses": [{"rate_per_s": 0.1, "length_ms": 20, "scope": "node"}]}},
    {"node": {"scatter": {"distribution": "factors", "factors": [0.9, 1.1]}}},
    {"node": {"scatter": {"distribution": "exponential"}}},
    _SHARDED,
    *({"node": each} for each in _WHAT_IFS),
    {
        "policy": {
            "name": "separate-queues",
            "large_from_items": 200,
            "small_cores": 8,
            "small_batch_size": 32,
            "large_batch_size": 128,
        }
    },
    *(
        {"sla": {"percentile": 0.95, "latency_ms": 50, "outside_ms": outside}}
        for outside in (
            15,
            {"distribution": "fixed", "time_ms": 15},
            {"distribution": "lognormal", "mu": 1, "sigma": 1},
            {"distribution": "normal", "mean_ms": 9, "std_ms": 2},
            {"distribution": "file", "file": "sizes.txt"},
        )
    ),
    *(
        {"node": {"cpu": "skylake", "anchor": anchor}}
        for anchor in (
            {"service_times": "table.csv", "error_percent": 5},
            {"rate_qps": 10, "utilisation": 0.1, "p50_ms": 1, "p95_ms": 2, "p99_ms": 3},
        )
    ),
    {"policy": {"name": "dynamic-batching", "max_batch_items": 128, "timeout_ms": 1}},
    {"policy": {"name": "size-priority", "batch_size": 64, "ageing_items_per_s": 10}},
)
"""What no shipped scenario has, put into one that is quick to answer."""

_TRANSIENT = {
    "detection_s": 30,
    "timeout_ms": 500,
    "retries": 2,
    "restart_s": 300,
    "cold_speed": 0.5,
    "warm_up_s": 60,
    "horizon_s": 900,
}
_KNOWN_FLEET: Document = {
    "name": "every key of a plan of known capacities",
    "services": {
        "feed": {
            "scenario": "quick.yaml",
            "demand": {"peak_qps": 9000, "shape": "diurnal", "trough": 0.4, "growth": 1.1, "error": 0.1},
            "tune": False,
        },
        "ads": {"scenario": "ncf_broadwell", "demand": {"file": "demand.csv"}, "tune": True},
    },
    "node_types": {
        "skylake": {
            "node": {"cpu": "skylake@hpca2020"},
            "owned": 4,
            "available": 40,
            "price_usd_per_h": 1.0,
            "buy_price_usd_per_h": 1.5,
            "power_cap_w": 9000,
        },
        "broadwell": {"node": {"cpu": "broadwell@hpca2020", "price_usd_per_h": 0.9}, "available": 40},
    },
    "capacities": {"feed": {"skylake": 900, "broadwell": 700}, "ads": {"skylake": 950, "broadwell": 710}},
    "provision": {
        "objective": "price",
        "grid_g_per_kwh": 300,
        "confidence": 0.9,
        "headroom": 0.1,
        "headroom_in_failure": 0.05,
        "maintenance": 0.05,
        "failures": {"nodes": 1, "zones": 3},
        "power": "static",
        "power_cap_w": 20_000,
        "sharing": False,
        "autoscaler": {"start_up_s": 300, "interval_s": 60, "target_utilisation": 0.7},
        "transient": _TRANSIENT,
    },
}
_OF_CARBON: Document = {
    **_KNOWN_FLEET,
    "services": {"feed": {"scenario": "quick.yaml", "demand": {"qps": 9000}, "tune": False}},
    "capacities": {},
    "provision": {
        "objective": "carbon",
        "grid_g_per_kwh": "grid.csv",
        "power": "by-utilisation",
        "failures": {"zones": 2},
    },
}
_FLEETS: tuple[Document, ...] = (
    _KNOWN_FLEET,
    {
        **_KNOWN_FLEET,
        "services": {
            "feed": {
                "scenario": "ranking_two_stages",
                "demand": {"qps": 900},
                "units": {"filter then rank": ["broadwell", "skylake"]},
            }
        },
        "capacities": {"feed": {"skylake": 900, "broadwell": 700, "filter then rank": 800}},
    },
    {
        **_KNOWN_FLEET,
        "services": {
            "feed": {"scenario": "five_terabytes_sharded", "demand": {"qps": 900}, "tune": False},
        },
        "node_types": {
            **_KNOWN_FLEET["node_types"],
            "skylake": {
                "node": {
                    "cpu": "skylake@hpca2020",
                    "shards": {"count": "auto", "by": "table", "network": {"latency_us": 5, "gb_per_s": 9}},
                },
                "shards_on": ["broadwell"],
                "available": 40,
                "price_usd_per_h": 1.0,
            },
        },
        "capacities": {"feed": {"broadwell": 0, "skylake + broadwell": 500}},
    },
    _OF_CARBON,
    {
        **_KNOWN_FLEET,
        "node_types": {
            **_KNOWN_FLEET["node_types"],
            "broadwell": {
                "node": {"service_times": "table.csv", "executors": 8, "tdp_w": 100},
                "available": 40,
                "price_usd_per_h": 1.0,
            },
        },
        "provision": {"objective": "power", "sharing": True},
    },
)
"""Plans of rates that are given, of rates that are found, and of nodes that several services share."""

_NODES: tuple[Document, ...] = (
    {
        "cpu": "skylake",
        "scatter": {"distribution": "lognormal", "relative_std": 0.2},
        "pauses": [{"rate_per_s": 0.1, "length_ms": 20, "scope": "node"}],
        "anchor": {"service_times": "table.csv", "error_percent": 5},
    },
    {
        "cpu": "skylake",
        "scatter": {"distribution": "lognormal", "p99_over_p50": 1.5},
        "pauses": [{"rate_per_s": 0.1, "lengths": {"distribution": "lognormal", "mu": 1, "sigma": 1}}],
        "anchor": {"rate_qps": 10, "utilisation": 0.1, "p50_ms": 1, "p95_ms": 2, "p99_ms": 3},
    },
    {"cpu": "skylake", "scatter": {"distribution": "factors", "factors": [0.9, 1.1]}},
    {"cpu": "skylake", "scatter": {"distribution": "exponential"}},
    _SHARDED["node"],
    *_WHAT_IFS,
)
"""Of node types, what scenarios have seldom: a fleet of each, whose rates are given."""

EVERY_OPERATOR: Document = {
    "name": "every-operator",
    "dense_features": 4,
    "query_dense_features": 4,
    "operators": [
        {"name": "user", "kind": "activation", "input": "query_dense", "function": "relu", "scope": "query"},
        {"name": "seq", "kind": "embedding_bag", "pooling": "none", "tables": [{"num_rows": 9, "dim": 4}]},
        {"name": "act", "kind": "activation", "input": "dense", "function": "relu"},
        {"name": "att", "kind": "attention", "query": "seq", "num_heads": 2, "head_dim": 2},
        {"name": "mul", "kind": "elementwise", "inputs": ["act", "att", "user"], "function": "gelu"},
        {"name": "dot", "kind": "batch_matmul", "left": "mul", "right": "mul", "inner": 4},
        {"name": "ids", "kind": "ids", "count": 2},
        {
            "name": "learned",
            "kind": "parameters",
            "length": 1,
            "width": 4,
            "scope": "query",
            "memory": "w",
        },
        {
            "name": "bag",
            "kind": "embedding_bag",
            "pooling": "mean",
            "weights": "ids",
            "tables": [{"num_rows": 9, "dim": 4, "pooling_factor": 2, "indices": "ids", "memory": "one"}],
        },
        {
            "name": "again",
            "kind": "embedding_bag",
            "only_on": "cpu",
            "tables": [{"num_rows": 9, "dim": 4, "pooling_factor": 2, "indices": "ids", "memory": "one"}],
        },
        {"name": "fused", "kind": "attention", "query": "bag", "value": "learned", "key": "learned"}
        | {"num_heads": 1, "head_dim": 4, "projected": False, "fused": True},
        {
            "name": "side",
            "kind": "mlp",
            "input": "fused",
            "widths": [4, 1],
            "groups": 1,
            "routed": False,
            "memory": "w",
        },
        {"name": "norm", "kind": "layer_norm", "input": "seq"},
        {"name": "conv", "kind": "conv1d", "input": "norm", "channels": 4, "kernel_size": 1, "stride": 1}
        | {"padding": 1, "dilation": 1, "groups": 2, "bias": False},
        {"name": "gated", "kind": "swiglu", "input": "conv", "hidden_width": 8, "bias": True},
        {"name": "out", "kind": "view", "input": "dot", "length": 1, "width": 1},
    ],
    "unread": ["side", "gated", "again"],
    "unmodelled": {"flop_share": 0.1, "bytes_share": 0.05, "calls": ["fft_rfft"]},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One key of one document; `label` says the same of all keys that are checked by the same code."""

    kind: Kind
    document: Document
    path: KeyPath
    label: str

    def written(self, value: Any) -> str:
        """The document with this key's value replaced."""
        return _text(_replaced(self.document, self.path, value))


@cache
def targets(kind: Kind) -> list[Target]:
    """Every key that a kind of file may have, each once."""
    found: dict[str, Target] = {}
    for document in documents(kind):
        for target in _targets_in(kind, document):
            found.setdefault(target.label, target)
    return list(found.values())


def documents(kind: Kind) -> list[Document]:
    """Shipped files, cut short, and what they leave out."""
    folder = shipped_directory("profile" if kind == "derived" else kind)
    paths = sorted(folder.glob("*.yaml"))
    shipped = [yaml.load(path.read_text(), Loader=yaml.CSafeLoader) for path in paths]
    if kind == "profile":
        naming = next(document for document in shipped if document["name"] == "amd-epyc-turin-2c")
        whole = [_in_one_file(document, path) for document, path in zip(shipped, paths, strict=True)]
        shipped = [naming, *whole]
    shipped = [_thinned(document) for document in shipped]
    if kind in ("profile", "derived"):
        shipped = [document for document in shipped if ("base" in document) == (kind == "derived")]
    if kind == "fleet":
        return [*_FLEETS, *map(_on_nodes, _NODES), *shipped]
    if kind == "derived":
        return [*shipped, _EVERY_CHANGE]
    if kind == "scenario":
        shipped += [_merged(_quick(), variant) for variant in _VARIANTS]
        return [{**document, "simulation": _SETTINGS} for document in shipped]
    if kind == "model":
        return [*shipped, EVERY_OPERATOR]
    return [*shipped, _with_launches(shipped), _with_ways(shipped)]


def _in_one_file(document: Document, path: Path) -> Document:
    """A profile with its surfaces in it, rather than the name of their file."""
    if not surface_files(path):
        return document
    source, whole = measured_document(read_yaml(path)), copy.deepcopy(document)
    for stack, section in whole["stacks"].items():
        if (surfaces := source.find("stacks", stack, "surfaces")) is not None:
            section["surfaces"] = plain(surfaces)
    return whole


def _on_nodes(node: Document) -> Document:
    """The fleet of known capacities on nodes of one type."""
    known = {service: {"node": 900} for service in _KNOWN_FLEET["services"]}
    node_types = {"node": {"node": node, "available": 40, "price_usd_per_h": 1.0}}
    return {**_KNOWN_FLEET, "node_types": node_types, "capacities": known}


def _quick() -> Document:
    """A shipped scenario that is quick to answer."""
    text = (shipped_directory("scenario") / "ncf_skylake.yaml").read_text()
    document: Document = yaml.load(text, Loader=yaml.CSafeLoader)
    return {**document, "simulation": _SETTINGS}


def _with_ways(profiles: Sequence[Document]) -> Document:
    """A CPU whose modules were measured beside the flat list of calls, and its scatter and pauses."""
    core = copy.deepcopy(next(profile for profile in profiles if profile["name"] == "broadwell"))
    source = "measured: nowhere"
    eager = {
        "describes": "modules",
        "law_ns": dict.fromkeys(MODULE_TERMS, 1.0),
        "relative_error": {"value": 0.1, "source": source},
        "passes": 40,
        "source": source,
    }
    half = {"precision": "bf16", "layers_ns": dict.fromkeys(LAYER_TERMS, 1.0), "factors": {"bag": 0.5}}
    core["stacks"][core["default_stack"]]["served"] = {"eager": eager, "eager-bf16": {**eager, **half}}
    pauses = [{"rate_per_s": 1.0, "length_ms": 1.0, "lengths": "exponential", "scope": "executor"}]
    unrest = {"relative_std": 0.1, "pauses": pauses, "source": source}
    core["stacks"][core["default_stack"]] |= {"derived_from": "nowhere", "unrest": unrest}
    return core


def _with_launches(profiles: Sequence[Document]) -> Document:
    """An accelerator whose operators were measured, with all that goes with it."""
    card = copy.deepcopy(next(profile for profile in profiles if profile.get("kind") == "gpu"))
    measured = next(
        stack
        for profile in profiles
        for stack in profile["stacks"].values()
        if isinstance(stack.get("surfaces"), list)
    )
    stack = card["stacks"][card["default_stack"]]
    source = "measured: nowhere"
    sheet = {"value": 30.0, "source": "datasheet: the maker"}
    card["hardware"] |= {
        "host_link_gb_per_s": sheet,
        "card_link_gb_per_s": sheet,
        "peaks_tflop_per_s": dict.fromkeys(("fp32", "tf32", "fp16", "bf16", "int8"), sheet),
    }
    stack["surfaces"] = measured["surfaces"]
    calls = [surface["call"] for surface in measured["surfaces"]]
    stack["launches"] = {
        "issue_us": {call: {"call": 1.0, "part": 1.0} for call in calls},
        "launch_latency_us": 5.0,
        "output_us": 5.0,
        "source": source,
    }
    stack["measured"] = [{"signature": "fc:1x1", "batch_sizes": [1], "time_us": [1.0], "source": source}]
    stack["anchors"] = {
        "ncf": {"batch_sizes": [1], "factors": [1.0], "all_busy_factor": 1.0, "source": source}
    }
    return card


def unreached(kind: Kind) -> list[str]:
    """Properties of a kind's schema that no document leads to: what a new one has to be added for."""
    schema = _schema(kind)
    reached = {
        (schema_of.get("title"), str(target.path[-1]))
        for target in targets(kind)
        for schema_of in _schemas_at(kind, target)
    }
    definitions = {kind: schema, **schema.get("$defs", {})}
    return [
        f"{definition.get('title')}.{key}"
        for definition in definitions.values()
        for key in definition.get("properties", {})
        if (definition.get("title"), key) not in reached
    ]


def legal_extremes(target: Target) -> list[float | int]:
    """The smallest and the largest number of the ladder that the key accepts; none where it takes none."""
    legal = [number for number in LADDER if _is_legal(target, number)]
    return [min(legal), max(legal)] if legal else []


def both(first: Target, one: float, second: Target, other: float) -> str:
    """The first target's document with two keys at values of their own."""
    return _text(_replaced(_replaced(first.document, first.path, one), second.path, other))


def _is_legal(target: Target, number: float) -> bool:
    try:
        _adapter(target.kind).validate_json(json.dumps(_replaced(target.document, target.path, number)))
    except ValidationError:
        return False
    return True


def _schemas_at(kind: Kind, target: Target) -> Sequence[Any]:
    expectations, source = _read(kind, target.document)
    return expectations.at(target.path[:-1], source.root)


def _read(kind: Kind, document: Document) -> tuple[Expectations, YamlSource]:
    return Expectations(_schema(kind)), parse_yaml(_text(document), f"{kind}.yaml")


@cache
def _adapter(kind: Kind) -> TypeAdapter[Any]:
    return TypeAdapter(TYPES[kind])


@cache
def _schema(kind: Kind) -> dict[str, Any]:
    return _adapter(kind).json_schema(mode="validation")


def _text(document: Document) -> str:
    return yaml.dump(document, Dumper=_DUMPER, sort_keys=False, width=10**6)


def _targets_in(kind: Kind, document: Document) -> Iterator[Target]:
    expectations, source = _read(kind, document)

    def visit(path: KeyPath, label: str) -> Iterator[Target]:
        match source.find(*path):
            case Section(entries=entries):
                schemas = expectations.at(path, source.root)
                chosen = [str(_at(document, path)[key]) for key in _DISCRIMINATORS if key in entries and path]
                within = label + (f"({chosen[0]})" if chosen and "operators" in path[:-1] else "")
                of_kinds = ("policy", "arrivals", "query_sizes", "lengths", "scatter", "outside_ms")
                if len(path) > 0 and path[-1] in of_kinds:
                    within = f"{label}({chosen[0]})"
                named = not keys_of(schemas)  # a mapping with keys of the user's choice, such as stacks
                for key in dict.fromkeys((*keys_of(schemas), *entries)):
                    inner = f"{within}.{'*' if named else key}"
                    yield Target(kind=kind, document=document, path=(*path, key), label=inner)
                    if key in entries:
                        yield from visit((*path, key), inner)
            case Listing(items=items):
                for index in range(len(items)):
                    yield from visit((*path, index), f"{label}[]")
            case _:
                pass

    yield from visit((), kind)


def _at(document: Any, path: KeyPath) -> Any:
    for key in path:
        document = document[key]
    return document


def _replaced(document: Document, path: KeyPath, value: Any) -> Document:
    changed = copy.deepcopy(document)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def _merged(base: Document, changes: Document) -> Document:
    """The base with sections of the changes in place of its own; `traffic` is merged key by key."""
    return {**base, **changes, "traffic": {**base["traffic"], **changes.get("traffic", {})}}


def _thinned(value: Any, key: str = "") -> Any:
    """Measured surfaces and curves by the hundred say nothing new; operators need each other."""
    if isinstance(value, dict):
        return {name: _thinned(inner, name) for name, inner in value.items()}
    if isinstance(value, list) and key in ("surfaces", "measured"):
        return value[:_MOST_ENTRIES]
    return value


def write_data(folder: Path) -> None:
    """Write the trace and the sizes that documents name beside them."""
    trace = "".join(f"{index / 100},{1 + index % 300}\n" for index in range(2000))
    (folder / "trace.csv").write_text(f"arrival_s,num_items\n{trace}")
    for name in ("table.csv", "rm3_skylake_table.csv"):
        (folder / name).write_text("items,service_ms\n1,0.1\n1000,9\n")
    (folder / "sizes.txt").write_text("".join(f"{1 + index % 300}\n" for index in range(500)))
    hours = range(24)
    (folder / "demand.csv").write_text("hour,qps\n" + "".join(f"{hour},{900 + hour}\n" for hour in hours))
    grid = "".join(f"{hour},{200 + hour}\n" for hour in hours)
    (folder / "grid.csv").write_text(f"hour,g_per_kwh\n{grid}")
    (folder / "quick.yaml").write_text(_text(_quick()))
    (folder / "fleet.yaml").write_text(_text(_KNOWN_FLEET))
    (folder / "carbon.yaml").write_text(
        _text(_OF_CARBON | {"capacities": {"feed": _KNOWN_FLEET["capacities"]["feed"]}})
    )
    (folder / "wnd_trace.csv").write_text(f"arrival_s,num_items\n{trace}")
