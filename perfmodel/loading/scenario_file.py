"""Scenario files, the `--set` options that change them, and the files that they name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.model import RecModel
from perfmodel.domain.outside import FileTime
from perfmodel.domain.scenario import NodeChoice, Scenario, TableAnchor, TableNodeChoice
from perfmodel.domain.workload import FileLengths, FileSizes, NamedSizes, TraceArrivals
from perfmodel.errors import InputError
from perfmodel.loading.derived_profile import files_of, parse_any
from perfmodel.loading.inputs import InputFile, input_files
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.published_sizes import SizeFrequencies, named_sizes
from perfmodel.loading.shipped import ProfileChoice, find_file, find_profile
from perfmodel.loading.text_file import is_file
from perfmodel.loading.validated import validate
from perfmodel.loading.words import cut, cut_path, quoted
from perfmodel.loading.yaml_source import parse_value, read_yaml
from perfmodel.loading.yaml_tree import Key, KeyPath, Place, YamlSource, source_of

if TYPE_CHECKING:
    from perfmodel.domain.service_table import ServiceTable
    from perfmodel.loading.times_file import FloatArray
    from perfmodel.loading.traffic_files import Trace

_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{0,15})?(?:[eE][-+]?[0-9]{1,2})?)"
_TWO_NUMBERS = re.compile(rf"\s*{_NUMBER}\s*([*/])\s*{_NUMBER}\s*")

SHARD_CPU: KeyPath = ("node", "shards", "node", "cpu")
"""Where the machines that hold tables are named."""

_MAX_KEYS = 60
"""No document that can be read is nested deeper."""


@dataclass(frozen=True, slots=True)
class LoadedScenario:
    """A scenario and where it came from, so that names resolve and later errors have a place.

    Attributes
    ----------
    name : str
        The file's name without its suffix.
    scenario : Scenario
        The values.
    source : YamlSource
        The file, with the overrides applied.
    path : Path or None
        The file; None of what came from none.
    """

    name: str
    scenario: Scenario
    source: YamlSource
    path: Path | None = None

    def model_path(self) -> Path:
        """Find the model file.

        Raises
        ------
        InputError
            At the place of `model`, if there is no such model; the other finders do likewise.
        """
        assert self.scenario.model is not None, "asked of a node that is not known by its service times"
        try:
            return find_file("model", self.scenario.model, relative_to=self.source.directory_of("model"))
        except InputError as error:
            raise self.error(str(error), "model") from None

    @property
    def profiled_node(self) -> NodeChoice:
        """The node as profiles describe it.

        Raises
        ------
        InputError
            At `node.service_times`, where those describe it.
        """
        if isinstance(self.scenario.node, TableNodeChoice):
            asked = "expected a node with a model and hardware profiles, got one known by its service times"
            raise self.error(asked, "node", "service_times")
        return self.scenario.node

    def cpu_profile(self) -> ProfileChoice:
        """Find the profile of the node's CPU; its stack only where `name@stack` says it, see `node.stack`."""
        return self._profile(self.profiled_node.cpu, "node", "cpu")

    @property
    def has_changed_devices(self) -> bool:
        """Whether `--set` changed the devices, but not the stack that the file names for its own."""
        paths: tuple[KeyPath, ...] = (("node", "cpu"), ("node", "accelerators"), SHARD_CPU)
        changed = [self.source.place(*path).option_path for path in paths]
        return any(changed) and not self.source.place("node", "stack").option_path

    def accelerator_profiles(self) -> tuple[ProfileChoice, ...]:
        """Find the profiles of the accelerators, in order; a stack only where `name@stack` says it."""
        return tuple(
            self._profile(name, "node", "accelerators", index)
            for index, name in enumerate(self.profiled_node.accelerators)
        )

    def shard_profile(self) -> ProfileChoice | None:
        """Find the profile of machines that hold the tables; None: none do, or ones like the main node."""
        shards = self.profiled_node.shards
        return None if shards is None or shards.node is None else self._profile(shards.node.cpu, *SHARD_CPU)

    def node_paths(self) -> tuple[Path, ...]:
        """Find the files that say how long the node takes: model and profiles, or its service times."""
        node = self.scenario.node
        if isinstance(node, TableNodeChoice):
            return (self.data_path(node.service_times, "node", "service_times"),)
        cards = (choice.path for choice in self.accelerator_profiles())
        shard = self.shard_profile()
        devices = (self.cpu_profile().path, *cards, *(() if shard is None else (shard.path,)))
        found = [self.model_path(), *dict.fromkeys(part for path in devices for part in files_of(path))]
        if isinstance(node.anchor, TableAnchor):
            found.append(self.data_path(node.anchor.service_times, "node", "anchor", "service_times"))
        return tuple(found)

    def traffic_paths(self) -> tuple[Path, ...]:
        """Find the files that say what arrives, and how long it is under way outside the node."""
        arrivals, sizes = self.scenario.traffic.arrivals, self.scenario.traffic.query_sizes
        lengths, outside = self.scenario.traffic.lengths, self.outside_path()
        found = []
        if isinstance(arrivals, TraceArrivals):
            found.append(self.data_path(arrivals.file, "traffic", "arrivals", "file"))
        if isinstance(sizes, FileSizes):
            found.append(self.data_path(sizes.file, "traffic", "query_sizes", "file"))
        if isinstance(lengths, FileLengths):
            found.append(self.data_path(lengths.file, "traffic", "lengths", "file"))
        return (*found, *(() if outside is None else (outside,)))

    def outside_path(self) -> Path | None:
        """Find the list of times outside the node; None where the SLA names none."""
        outside = self.scenario.sla.outside_ms
        return (
            self.data_path(outside.file, "sla", "outside_ms", "file")
            if isinstance(outside, FileTime)
            else None
        )

    def data_path(self, file: Path, *path: Key) -> Path:
        """Resolve a data file that the value at a key path names, such as a trace.

        Raises
        ------
        InputError
            At that key's place, if there is no such file.
        """
        resolved = self.source.directory_of(*path) / file
        if not is_file(resolved):
            raise self.source.error(f"expected a file, found none at {cut_path(resolved)}", *path)
        return resolved

    def error(self, message: str, *path: Key) -> InputError:
        """Build the one-line error about the value at a key path; the caller raises it."""
        return self.source.error(message, *path)

    def located(self, error: ValueErrorAt) -> InputError:
        """Give an error that knows its key path the place in the file, or the option, that set the value."""
        return self.error(error.message, *error.path)

    @contextmanager
    def places(self) -> Iterator[None]:
        """Give errors about values of this scenario their places, whatever is asked of it meanwhile."""
        try:
            yield
        except ValueErrorAt as error:
            raise self.located(error) from None

    def _profile(self, name: str, *path: Key) -> ProfileChoice:
        try:
            return find_profile(name, relative_to=self.source.directory_of(*path))
        except InputError as error:
            raise self.error(str(error), *path) from None


ScenarioLike = str | os.PathLike[str] | Mapping[str, Any] | Scenario | LoadedScenario
"""A shipped scenario's name, a file's path, what such a file says, or a scenario made or loaded before."""


class NamedProfile(NamedTuple):
    """The profile of a device of the node, the stack that `name@stack` gives it, and where it is named."""

    profile: ProfileFile
    stack: str | None
    place: KeyPath


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFiles:
    """All that a scenario names, read.

    Attributes
    ----------
    model : RecModel or None
        What runs; None where the node is known by its service times.
    profiles : tuple of NamedProfile
        Of the node's devices, the CPU's first; none of such a node.
    service_times : ServiceTable or None
        By which the node is known, in place of both.
    anchor : ServiceTable or None
        What corrects the times of a model on its profile, where that is a table.
    outside_s : (n,) float or None
        Equiprobable times outside the node, where the SLA names a file of them. [s]
    shard_profile : NamedProfile or None
        Of the machines that hold the tables, where they are not like the main node.
    trace : Trace or None
        Recorded arrivals, perhaps with sizes; None of a process.
    sizes : SizeFrequencies or None
        A list of query sizes, shipped or the user's; None where a law or the trace gives them.
    inputs : tuple of InputFile
        The files of the user's question, the scenario's own first.
    lengths : SizeFrequencies or None
        A list of lengths of histories; None where a law gives them, or the model file.
    """

    model: RecModel | None
    profiles: tuple[NamedProfile, ...]
    trace: Trace | None
    sizes: SizeFrequencies | None
    inputs: tuple[InputFile, ...] = ()
    service_times: ServiceTable | None = None
    anchor: ServiceTable | None = None
    lengths: SizeFrequencies | None = None
    outside_s: FloatArray | None = None
    shard_profile: NamedProfile | None = None


def read_named_files(
    loaded: LoadedScenario, parse: Callable[[Path, type[Any]], Any] = parse_any
) -> NamedFiles:
    """Read the model, the profiles and the traffic files that a scenario names, each once.

    Parameters
    ----------
    loaded : LoadedScenario
        The scenario.
    parse : callable, optional
        Reads model and profiles; who reads several scenarios may keep what it returned.

    Raises
    ------
    InputError
        At the place in the scenario, or in the file it names, that cannot be used.
    """
    model = service_times = anchor = None
    choices: list[ProfileChoice] = []
    of_shards: ProfileChoice | None = None
    read = [] if loaded.path is None else [loaded.path]
    if isinstance(node := loaded.scenario.node, TableNodeChoice):
        read.append(loaded.data_path(node.service_times, "node", "service_times"))
        service_times = _service_table(read[-1])
    else:
        read.append(loaded.model_path())
        model = parse(read[-1], RecModel)
        choices, of_shards = [loaded.cpu_profile(), *loaded.accelerator_profiles()], loaded.shard_profile()
        if isinstance(node.anchor, TableAnchor):
            file = node.anchor.service_times
            read.append(loaded.data_path(file, "node", "anchor", "service_times"))
            anchor = _service_table(read[-1])
    every = [*choices, *(() if of_shards is None else (of_shards,))]
    profiles = {path: parse(path, ProfileFile) for path in dict.fromkeys(each.path for each in every)}
    places: list[KeyPath] = [("node", "cpu")] if choices else []
    places += [("node", "accelerators", index) for index in range(len(choices) - 1)]
    arrivals, sizes = loaded.scenario.traffic.arrivals, loaded.scenario.traffic.query_sizes
    trace = frequencies = lengths = None
    read += [part for path in profiles for part in files_of(path)]
    if isinstance(given := loaded.scenario.traffic.lengths, FileLengths):
        read.append(loaded.data_path(given.file, "traffic", "lengths", "file"))
        lengths = _sizes(read[-1])
    if isinstance(arrivals, TraceArrivals):
        read.append(loaded.data_path(arrivals.file, "traffic", "arrivals", "file"))
        trace = _trace(read[-1])
    if isinstance(sizes, NamedSizes):
        frequencies = named_sizes(sizes.distribution)
    elif isinstance(sizes, FileSizes):
        read.append(loaded.data_path(sizes.file, "traffic", "query_sizes", "file"))
        frequencies = _sizes(read[-1])
    outside_s = None
    if (outside := loaded.outside_path()) is not None:
        read.append(outside)
        outside_s = _times(outside)
    return NamedFiles(
        model=model,
        profiles=tuple(
            NamedProfile(profiles[choice.path], choice.stack, place)
            for choice, place in zip(choices, places, strict=True)
        ),
        trace=trace,
        sizes=frequencies,
        service_times=service_times,
        anchor=anchor,
        inputs=input_files(read),
        lengths=lengths,
        outside_s=outside_s,
        shard_profile=None
        if of_shards is None
        else NamedProfile(profiles[of_shards.path], of_shards.stack, SHARD_CPU),
    )


# Readers of files of the user's own: imported on use, since most questions bring a scenario alone.


def _service_table(path: Path) -> ServiceTable:
    from perfmodel.loading.service_table_file import read_service_table

    return read_service_table(path)


def _sizes(path: Path) -> SizeFrequencies:
    from perfmodel.loading.traffic_files import read_sizes

    return read_sizes(path)


def _trace(path: Path) -> Trace:
    from perfmodel.loading.traffic_files import read_trace

    return read_trace(path)


def _times(path: Path) -> FloatArray:
    from perfmodel.loading.times_file import read_times

    return read_times(path)


def load_scenario(scenario: ScenarioLike, overrides: Sequence[str] = ()) -> LoadedScenario:
    """Read a scenario, apply `--set` overrides in order, and validate the result.

    Parameters
    ----------
    scenario : str, path, mapping, Scenario or LoadedScenario
        A shipped scenario, with or without `.yaml`; the path of a scenario file; what such a file says, as
        a mapping; or a scenario that was made or loaded before. Names in what came from no file are
        relative to the working directory.
    overrides : sequence of str
        Each `key.path=value`, the value in YAML: `traffic.arrivals.rate_qps=500`.

    Raises
    ------
    InputError
        One line, located in the file (`rm3.yaml:9:14: rate_qps: expected …`) or at the option
        (`--set traffic.arrivals.rate_qps: expected …`).

    Examples
    --------
    >>> loaded = load_scenario("rm3_skylake", ["traffic.arrivals.rate_qps=500"])
    >>> loaded.name, loaded.scenario.traffic.arrivals.rate_qps
    ('rm3_skylake', 500.0)
    """
    if isinstance(overrides, str):
        raise InputError(f"overrides: expected a list of KEY=VALUE, got the text {quoted(overrides)}")
    name, source, path = _source(scenario)
    for override in overrides:
        source = overridden(source, override)
    return LoadedScenario(name=name, scenario=validate(source, Scenario), source=source, path=path)


def _source(scenario: ScenarioLike) -> tuple[str, YamlSource, Path | None]:
    """What a scenario is called, its document, and its file."""
    match scenario:
        case LoadedScenario():
            return scenario.name, scenario.source, scenario.path
        case Scenario():  # as it was given, so that what may not be said with something else stays unsaid
            given = scenario.model_dump(mode="json", exclude_unset=True)
            return "scenario", source_of(given, "scenario"), None
        case Mapping():
            return "scenario", source_of(scenario, "scenario"), None
        case str() | os.PathLike():
            path = find_file("scenario", _written(scenario))
            return path.stem, read_yaml(path), path
    kinds = "a name, a path, a mapping or a scenario"
    raise InputError(f"scenario: expected {kinds}, got {type(scenario).__name__}")


def _written(path: str | os.PathLike[str]) -> str:
    """A name or a path as on the command line; a path object is no shipped name."""
    text = os.fspath(path)
    return text if isinstance(path, str) or os.sep in text else os.path.join(".", text)


def overridden(source: YamlSource, override: str) -> YamlSource:
    """Apply one `key.path=value`; unknown keys are left to the validation, which knows the right ones."""
    dotted, equals, text = override.partition("=")
    keys = tuple(key.strip() for key in dotted.split("."))
    if not equals or not all(keys):
        example = "--set traffic.arrivals.rate_qps=500"
        raise InputError(f"--set {cut(override)}: expected KEY=VALUE, such as {example}")
    if len(keys) > _MAX_KEYS:
        raise InputError(f"--set {cut(dotted)}: expected at most {_MAX_KEYS} keys, got {len(keys)}")
    place = Place(f"--set {cut('.'.join(keys))}", option_path=keys)
    return source.with_node(keys, parse_value(_worked_out(text), place), place)


def _worked_out(text: str) -> str:
    """Work out a product or a quotient of two numbers, as people write it; other texts stay.

    Examples
    --------
    >>> _worked_out("400*1.4"), _worked_out("1000 / 4"), _worked_out("a*b")
    ('560.0', '250', 'a*b')
    """
    if (found := _TWO_NUMBERS.fullmatch(text)) is None:
        return text
    left, right = float(found[1]), float(found[3])
    if found[2] == "/" and right == 0.0:
        return text
    value = left * right if found[2] == "*" else left / right
    of_whole = found[1].isdecimal() and found[3].isdecimal()
    return str(int(value)) if of_whole and value.is_integer() else repr(value)
