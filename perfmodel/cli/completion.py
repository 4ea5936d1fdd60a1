"""What a shell offers after a Tab: names of shipped files, files of one's own, keys for `--set`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from perfmodel.loading.file_kinds import Kind
from perfmodel.loading.shipped import shipped_directory, shipped_names

if TYPE_CHECKING:
    from pydantic import BaseModel

VARIABLE = "_PERFPLAN_COMPLETE"
"""By which a shell asks for completions instead of running a command."""


def words_so_far(environment: Mapping[str, str]) -> list[str]:
    """What stands on the command line that a shell asks about; nothing where none asks."""
    if VARIABLE not in environment:
        return []
    line = environment.get("COMP_WORDS") or environment.get("_TYPER_COMPLETE_ARGS") or ""
    return line.split()[1:]


def asked_as_typer_does(instruction: str) -> str:
    """Write `bash_source` as `source_bash`: the libraries beneath differ in the order of the words.

    Examples
    --------
    >>> asked_as_typer_does("bash_source"), asked_as_typer_does("complete_zsh")
    ('source_bash', 'complete_zsh')
    """
    shell, _, what = instruction.rpartition("_")
    return f"{what}_{shell}" if what in ("source", "complete") else instruction


BREAKS = "=@:"
"""Where bash breaks what is one word here, such as `node.cpu=skylake@hpca2020`."""

QUOTES = ("'", '"')


def as_bash_breaks(environment: MutableMapping[str, str]) -> Callable[[str], str]:
    """Join what bash has broken, in what it tells of the line, and say how it wants what is offered.

    bash puts an offer, as it is, in the place of what stands behind the last break, or from it on where that
    is an `@`. So what lies before is taken off, and outside of quotes blanks and the like are escaped.

    Parameters
    ----------
    environment : mapping of str to str
        Of the process; its `COMP_WORDS`, a word a line, and `COMP_CWORD` are changed.

    Examples
    --------
    >>> told = {"COMP_WORDS": chr(10).join(["perfplan", "--set", "node.cpu", "=", "sk"]), "COMP_CWORD": "4"}
    >>> as_bash_wants = as_bash_breaks(told)
    >>> told["COMP_WORDS"].split(), told["COMP_CWORD"], as_bash_wants("node.cpu=skylake")
    (['perfplan', '--set', 'node.cpu=sk'], '2', 'skylake')
    """
    told = environment.get("COMP_WORDS", "")
    separator, place = "\n" if "\n" in told else " ", int(environment.get("COMP_CWORD", "0"))
    words = [*told.split(separator), ""][: place + 1]
    joined: list[str] = []
    goes_on = False
    for word in words:
        is_break = word != "" and not word.strip(BREAKS)
        if joined and (is_break or goes_on):
            joined[-1] += word
        else:
            joined.append(word)
        goes_on = is_break
    environment["COMP_WORDS"] = separator.join(joined)
    environment["COMP_CWORD"] = str(len(joined) - 1)
    word = joined[-1]
    if word.startswith(QUOTES):
        return str
    if word.startswith("--"):  # what is offered behind an option's `=` is its value alone
        word = word.partition("=")[2]
    begin = max(word.rfind(each) + (each != "@") for each in BREAKS)
    return lambda offer: re.sub(r"([\s'\"&;|<>()$`\\])", r"\\\1", offer[max(0, begin) :])


def complete_scenarios(incomplete: str) -> list[str]:
    """Shipped scenarios, and YAML files."""
    return [*_shipped("scenario", incomplete), *_files(incomplete)]


def complete_fleets(incomplete: str) -> list[str]:
    """Shipped fleets, and YAML files."""
    return [*_shipped("fleet", incomplete), *_files(incomplete)]


def complete_questions(incomplete: str) -> list[str]:
    """Shipped scenarios and fleets, and files: saved answers too."""
    return [*_shipped("scenario", incomplete), *complete_fleets(incomplete)]


def complete_models(incomplete: str) -> list[str]:
    """Shipped models, and YAML files."""
    return [*_shipped("model", incomplete), *_files(incomplete)]


def complete_profiles(incomplete: str) -> list[str]:
    """Shipped profiles, their stacks after an `@`, and YAML files."""
    name, at, _ = incomplete.partition("@")
    if at and name in shipped_names("profile"):
        return [each for each in _with_stacks(name) if each.startswith(incomplete)]
    return [*_shipped("profile", incomplete), *_files(incomplete)]


def listed(complete: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """The same behind the last comma of a list."""

    def completed(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{each}" for each in complete(last)]

    return completed


def complete_shipped(incomplete: str) -> list[str]:
    """Names of everything that is shipped as a file."""
    kinds: tuple[Kind, ...] = ("scenario", "model", "profile", "fleet")
    return [name for kind in kinds for name in _shipped(kind, incomplete)]


def complete_fleet_settings(incomplete: str) -> list[str]:
    """Keys of a fleet for `--set`, those that stand under no name of its own, each with its `=`."""
    from perfmodel.domain.provision import FleetFile  # a Tab must not wait for it where it is not asked

    return _settings(FleetFile, incomplete)


def complete_settings(incomplete: str) -> list[str]:
    """Keys of a scenario for `--set`, each with the `=` that follows; names of files behind some."""
    from perfmodel.domain.scenario import Scenario  # as of fleets

    key, equals, value = incomplete.partition("=")
    if not equals:
        return _settings(Scenario, incomplete)
    behind = {"model": complete_models, "node.cpu": complete_profiles}.get(key)
    return [] if behind is None else [f"{key}={each}" for each in behind(value)]


def _shipped(kind: Kind, incomplete: str) -> list[str]:
    return [name for name in shipped_names(kind) if name.startswith(incomplete)]


def _with_stacks(name: str) -> list[str]:
    # A Tab after a profile's name pays for these.
    from perfmodel.loading.derived_profile import read_profile

    profile = read_profile(shipped_directory("profile") / f"{name}.yaml")
    return [f"{name}@{stack}" for stack in profile.stack_names]


def _files(incomplete: str) -> list[str]:
    """Folders, and YAML and JSON files, whose path begins like this; of one folder alone what is in it, too.

    Behind one alone a shell would put a blank.
    """
    found = list(_begin_like(incomplete))
    return [*found, *_begin_like(found[0])] if len(found) == 1 and found[0].endswith(os.sep) else found


def _begin_like(incomplete: str) -> Iterator[str]:
    folder, start = os.path.split(incomplete)
    try:
        entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
            path = os.path.join(folder, entry.name)
            if entry.is_dir():
                yield path + os.sep
            elif entry.name.endswith((".yaml", ".yml", ".json")):
                yield path


def _settings(of: type[BaseModel], incomplete: str) -> list[str]:
    """Keys that hold single values, joined by points, each with its `=`."""
    schema = of.model_json_schema()
    keys = sorted(dict.fromkeys(_leaves(schema, schema["$defs"])))
    keys = [f"{each}=" for each in keys if each.startswith(incomplete)]
    return [*keys, f"{keys[0]}VALUE"] if len(keys) == 1 else keys  # a shell puts a blank behind one alone


def _leaves(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _leaves(branch, definitions)
    for key, inner in schema.get("properties", {}).items():
        below = list(_leaves(inner, definitions))
        yield from (f"{key}.{path}" for path in below) if below else (key,)
