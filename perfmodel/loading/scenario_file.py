"""Scenario files, and the `--set` options that change them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perfmodel.domain.scenario import Scenario
from perfmodel.errors import InputError
from perfmodel.loading.shipped import ProfileChoice, find_file, find_profile
from perfmodel.loading.text_file import is_file
from perfmodel.loading.validated import at_leading_key, validate
from perfmodel.loading.words import cut, cut_path
from perfmodel.loading.yaml_source import parse_value, read_yaml
from perfmodel.loading.yaml_tree import Key, Place, YamlSource

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
    """

    name: str
    scenario: Scenario
    source: YamlSource

    def model_path(self) -> Path:
        """Find the model file.

        Raises
        ------
        InputError
            At the place of `model`, if there is no such model; the other finders do likewise.
        """
        try:
            return find_file("model", self.scenario.model, relative_to=self.source.directory_of("model"))
        except InputError as error:
            raise self.error(str(error), "model") from None

    def cpu_profile(self) -> ProfileChoice:
        """Find the profile of the node's CPU; its stack only where `name@stack` says it, see `node.stack`."""
        return self._profile(self.scenario.node.cpu, "node", "cpu")

    @property
    def has_changed_devices(self) -> bool:
        """Whether `--set` changed the devices, but not the stack that the file names for its own."""
        changed = [self.source.place("node", key).option_path for key in ("cpu", "accelerators")]
        return any(changed) and self.source.place("node", "stack").option_path is None

    def accelerator_profiles(self) -> tuple[ProfileChoice, ...]:
        """Find the profiles of the accelerators, in order; a stack only where `name@stack` says it."""
        return tuple(
            self._profile(name, "node", "accelerators", index)
            for index, name in enumerate(self.scenario.node.accelerators)
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

    def located(self, error: InputError) -> InputError:
        """Give an error whose message begins with a key path, such as `traffic.arrivals: …`, its place."""
        return at_leading_key(str(error), self.source)

    def _profile(self, name: str, *path: Key) -> ProfileChoice:
        try:
            return find_profile(name, relative_to=self.source.directory_of(*path))
        except InputError as error:
            raise self.error(str(error), *path) from None


def load_scenario(name_or_path: str, overrides: Sequence[str] = ()) -> LoadedScenario:
    """Read a scenario, apply `--set` overrides in order, and validate the result.

    Parameters
    ----------
    name_or_path : str
        A shipped scenario, with or without `.yaml`, or the path of a scenario file.
    overrides : sequence of str
        Each `key.path=value`, the value in YAML: `traffic.arrivals.rate_qps=500`.

    Raises
    ------
    InputError
        One line, located in the file (`rm3.yaml:9:14: rate_qps: expected …`) or at the option
        (`--set traffic.arrivals.rate_qps: expected …`).
    """
    path = find_file("scenario", name_or_path)
    source = read_yaml(path)
    for override in overrides:
        source = _overridden(source, override)
    return LoadedScenario(name=path.stem, scenario=validate(source, Scenario), source=source)


def _overridden(source: YamlSource, override: str) -> YamlSource:
    """Apply one `key.path=value`; unknown keys are left to the validation, which knows the right ones."""
    dotted, equals, text = override.partition("=")
    keys = tuple(key.strip() for key in dotted.split("."))
    if not equals or not all(keys):
        example = "--set traffic.arrivals.rate_qps=500"
        raise InputError(f"--set {cut(override)}: expected KEY=VALUE, such as {example}")
    if len(keys) > _MAX_KEYS:
        raise InputError(f"--set {cut(dotted)}: expected at most {_MAX_KEYS} keys, got {len(keys)}")
    place = Place(f"--set {cut('.'.join(keys))}", option_path=keys)
    return source.with_node(keys, parse_value(text, place), place)
