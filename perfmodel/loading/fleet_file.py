"""Fleet files: services, node types, what a plan has to hold, and the files that they name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.provision import HOURS_OF_A_DAY, FleetFile
from perfmodel.domain.scenario import Scenario, TableNodeChoice
from perfmodel.errors import InputError
from perfmodel.loading.scenario_file import LoadedScenario, load_scenario, overridden
from perfmodel.loading.shipped import find_file
from perfmodel.loading.text_file import is_file
from perfmodel.loading.traffic_files import read_by_hour
from perfmodel.loading.validated import validate
from perfmodel.loading.words import cut_path, quoted
from perfmodel.loading.yaml_source import parse_value, read_yaml
from perfmodel.loading.yaml_tree import Key, Scalar, YamlSource, source_of

FleetLike = str | os.PathLike[str] | Mapping[str, Any]
"""A shipped fleet's name, a file's path, or what such a file says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFleet:
    """A fleet file and what it names.

    Attributes
    ----------
    name : str
        What the file calls the fleet, else the file's name.
    fleet : FleetFile
        The values.
    source : YamlSource
        The file, with the overrides applied.
    scenarios : mapping of str to LoadedScenario
        By service.
    hours : tuple of int
        Hours that are planned, ascending.
    demand_qps : mapping of str to tuple of float
        Forecast of each service in each hour, growth included. [queries/s]
    grid_g_per_kwh : tuple of float or None
        Carbon intensity in each hour; None: not said. [g/kWh]
    """

    name: str
    fleet: FleetFile
    source: YamlSource
    scenarios: Mapping[str, LoadedScenario]
    hours: tuple[int, ...]
    demand_qps: Mapping[str, tuple[float, ...]]
    grid_g_per_kwh: tuple[float, ...] | None

    @contextmanager
    def places(self) -> Iterator[None]:
        """Give errors about values of this file their places, whatever is asked of it meanwhile."""
        try:
            yield
        except ValueErrorAt as error:
            raise self.source.error(error.message, *error.path) from None

    def paths(self) -> list[Path]:
        """Find the fleet's own file, the scenarios', and what these name: data, models, profiles, traffic."""
        own = Path(self.source.name)
        found = [own] if own.is_file() else []
        found += [each.path for each in self.scenarios.values() if each.path is not None]
        for service, each in self.fleet.services.items():
            if each.demand.file is not None:
                folder = self.source.directory_of("services", service, "demand", "file")
                found.append(folder / each.demand.file)
            for node_type in self.fleet.node_types:
                on_it = self.on_node_type(service, node_type)
                found += [*on_it.node_paths(), *on_it.traffic_paths()]
        if isinstance(grid := self.fleet.provision.grid_g_per_kwh, Path):
            found.append(self.source.directory_of("provision", "grid_g_per_kwh") / grid)
        return list(dict.fromkeys(found))

    def on_node_type(self, service: str, node_type: str) -> LoadedScenario:
        """The scenario of a service with the node of a type; what is wrong with that is said at its place.

        Every stage with a machine of its own is on one of that type. Where the node has no accelerator,
        nothing is offloaded, whatever the scenario says: batches are formed on the cores, and `fusion` is
        `split`, which it is like but for accelerators. A table of service times takes the place of the
        model too.
        """
        loaded = self.scenarios[service]
        pipeline = loaded.scenario.pipeline
        if isinstance(self.fleet.node_types[node_type].node, TableNodeChoice) and pipeline is not None:
            one = f"expected a model and hardware profiles, which {service} has several stages on"
            raise self.source.error(one, "node_types", node_type, "node", "service_times")
        return self._on_types(loaded, [node_type] * num_machines(loaded))

    def on_unit(self, service: str, unit: str) -> LoadedScenario:
        """The scenario of a service with its stages on the node types of a unit.

        Raises
        ------
        InputError
            At the unit, where it does not have a type for each stage with a machine of its own.
        """
        loaded, types = self.scenarios[service], self.fleet.services[service].units[unit]
        if (machines := num_machines(loaded)) != len(types):
            said = f"expected {machines} of node types, one for each machine that {service} has of its stages"
            raise self.source.error(f"{said}, got {len(types)}", "services", service, "units", unit)
        return self._on_types(loaded, types)

    def on_sharded(self, service: str, unit: str) -> LoadedScenario:
        """The scenario of a service on a main node, its tables on shards of another node type."""
        main, holder = self.fleet.sharded_units[unit]
        loaded = self.on_node_type(service, main)
        source, place = loaded.source, self.source.place("node_types", holder, "node")
        shards = self.source.find("node_types", main, "node", "shards")
        assert shards is not None, "checked with shards_on"
        source = source.with_node(("node", "shards"), shards, place)
        for key in ("cpu", "cores"):
            if (value := self.source.find("node_types", holder, "node", key)) is not None:
                where = self.source.place("node_types", holder, "node", key)
                source = source.with_node(("node", "shards", "node", key), value, where)
        if source.find("node", "price_usd_per_h") is not None:  # prices are the node types'
            source = source.with_node(("node", "price_usd_per_h"), Scalar(None, "null", place), place)
        return replace(loaded, scenario=validate(source, Scenario), source=source)

    def _on_types(self, loaded: LoadedScenario, types: Sequence[str]) -> LoadedScenario:
        """A scenario with each of its machines on a node type, in order."""
        source, left = loaded.source, list(types)
        pipeline = loaded.scenario.pipeline
        first = self.fleet.node_types[types[0]].node
        if isinstance(first, TableNodeChoice):
            where = source.key_place("model")
            source = source.with_node(("model",), Scalar(None, "null", where), where)
        stages = () if pipeline is None else pipeline.stages
        own: dict[tuple[str, ...], bool] = {
            (): True,
            **{("pipeline", "stages", str(at)): s.node is not None for at, s in enumerate(stages)},
        }
        for prefix, has_machine in own.items():
            name = left.pop(0) if has_machine else types[0]
            if has_machine:
                node = self.source.find("node_types", name, "node")
                assert node is not None, "a required key"
                place = self.source.place("node_types", name, "node")
                source = source.with_node((*prefix, "node"), node, place)
                if (on := self.fleet.node_types[name].shards_on) and name not in on:
                    none = Scalar(None, "null", place)
                    source = source.with_node((*prefix, "node", "shards"), none, place)
            if not self.fleet.node_types[name].node.accelerators:
                threshold = (*prefix, "policy", "offload_threshold_items")
                if source.find(*_keys(threshold)) is not None:
                    where = source.place(*_keys(threshold))
                    source = source.with_node(threshold, Scalar(None, "null", where), where)
                source = _on_cores(source, (*prefix, "policy"))
        return replace(loaded, scenario=validate(source, Scenario), source=source)


def num_machines(loaded: LoadedScenario) -> int:
    """Machines that a scenario's stages have, its own among them; shards left out."""
    pipeline = loaded.scenario.pipeline
    return 1 if pipeline is None else 1 + sum(stage.node is not None for stage in pipeline.stages)


def _on_cores(source: YamlSource, policy: tuple[str, ...]) -> YamlSource:
    """The scenario with a policy that is about accelerators as what it is without them."""
    pool, name = (source.find(*_keys(policy), key) for key in ("pool", "name"))
    if isinstance(pool, Scalar) and pool.value == "accelerator":
        source = source.with_node((*policy, "pool"), Scalar("cpu", "cpu", pool.place), pool.place)
    if isinstance(name, Scalar) and name.value == "fusion":
        batch_size = source.find(*_keys(policy), "batch_size")
        assert isinstance(batch_size, Scalar), "the policy was read"
        split = parse_value(f"{{name: split, batch_size: {batch_size.value}}}", name.place)
        source = source.with_node(policy, split, name.place)
    return source


def _keys(path: tuple[str, ...]) -> tuple[Key, ...]:
    """A path with the numbers of stages as what they are."""
    return tuple(int(key) if key.isdecimal() else key for key in path)


def load_fleet(fleet: FleetLike, overrides: Sequence[str] = ()) -> LoadedFleet:
    """Read a fleet file, apply `--set` overrides in order, and read what it names.

    Parameters
    ----------
    fleet : str, path or mapping
        A shipped fleet, with or without `.yaml`; the path of a fleet file; or what such a file says, names
        in it being relative to the working directory.
    overrides : sequence of str
        Each `key.path=value`, the value in YAML: `services.feed.demand.growth=1.4`.

    Raises
    ------
    InputError
        One line, at the place in the fleet file, or in the file that it names.
    """
    if isinstance(overrides, str):
        raise InputError(f"overrides: expected a list of KEY=VALUE, got the text {quoted(overrides)}")
    source = _source(fleet)
    for override in overrides:
        source = overridden(source, override)
    values = validate(source, FleetFile)
    demands = {service: _demand_file(source, service, values) for service in values.services}
    hours = _hours(source, demands)
    return LoadedFleet(
        name=values.name or Path(source.name).stem,
        fleet=values,
        source=source,
        scenarios={
            service: _scenario(source, service, each.scenario) for service, each in values.services.items()
        },
        hours=hours,
        demand_qps={
            service: tuple(
                each.demand.at_hour(hour) if by_hour is None else by_hour[hour] * each.demand.growth
                for hour in hours
            )
            for service, each in values.services.items()
            for by_hour in [demands[service]]
        },
        grid_g_per_kwh=_grid(source, values, hours),
    )


def _source(fleet: FleetLike) -> YamlSource:
    match fleet:
        case Mapping():
            return source_of(fleet, "fleet")
        case str() | os.PathLike():
            return read_yaml(find_file("fleet", os.fspath(fleet)))
    raise InputError(f"fleet: expected a name, a path or a mapping, got {type(fleet).__name__}")


def _scenario(source: YamlSource, service: str, name: str) -> LoadedScenario:
    path: tuple[Key, ...] = ("services", service, "scenario")
    try:
        found = find_file("scenario", name, relative_to=source.directory_of(*path))
    except InputError as error:
        raise source.error(str(error), *path) from None
    return load_scenario(found if found.is_absolute() else Path(os.curdir) / found)


def _demand_file(source: YamlSource, service: str, values: FleetFile) -> dict[int, float] | None:
    file = values.services[service].demand.file
    return None if file is None else _by_hour(source, file, "qps", "services", service, "demand", "file")


def _by_hour(source: YamlSource, file: Path, column: str, *path: Key) -> dict[int, float]:
    resolved = source.directory_of(*path) / file
    if not is_file(resolved):
        raise source.error(f"expected a file, found none at {cut_path(resolved)}", *path)
    return read_by_hour(resolved, column)


def _hours(source: YamlSource, demands: Mapping[str, dict[int, float] | None]) -> tuple[int, ...]:
    """Hours of the demand files, which have to agree; without any, those of a day."""
    given = {service: sorted(by_hour) for service, by_hour in demands.items() if by_hour is not None}
    if not given:
        return tuple(range(HOURS_OF_A_DAY))
    first, hours = next(iter(given.items()))
    for service, others in given.items():
        if others != hours:
            same = f"expected the hours of {first}, {_range(hours)}, found {_range(others)}"
            raise source.error(same, "services", service, "demand", "file")
    return tuple(hours)


def _range(hours: Sequence[int]) -> str:
    return f"{len(hours)} from {hours[0]} to {hours[-1]}"


def _grid(source: YamlSource, values: FleetFile, hours: Sequence[int]) -> tuple[float, ...] | None:
    given = values.provision.grid_g_per_kwh
    if given is None or isinstance(given, float):
        return None if given is None else (given,) * len(hours)
    path: tuple[Key, ...] = ("provision", "grid_g_per_kwh")
    by_hour = _by_hour(source, given, "g_per_kwh", *path)
    if missing := [hour for hour in hours if hour not in by_hour and hour % HOURS_OF_A_DAY not in by_hour]:
        raise source.error(f"expected every hour that is planned, found none for hour {missing[0]}", *path)
    return tuple(by_hour.get(hour, by_hour.get(hour % HOURS_OF_A_DAY, 0.0)) for hour in hours)
