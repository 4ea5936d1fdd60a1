"""Where the numbers of a page come from: the profiles behind it, value by value, and their stacks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from perfmodel.errors import InputError, PerfplanError
from perfmodel.loading.derived_profile import files_of
from perfmodel.loading.inputs import input_files
from perfmodel.loading.shipped import SUFFIXES, find_file
from perfmodel.loading.text_file import is_file
from perfmodel.loading.value_sources import KINDS, ProfileValues, ValueSource, profile_values
from perfmodel.report.html import Block, Heading, Prose, Table
from perfmodel.report.tables import number

Document = Mapping[str, Any]

PROFILES = "hardware_profiles/"
"""What the name of a shipped profile begins with, among the inputs of a document."""


BOTH = "Latencies are simulated with them; both errors are in what the page says to plan for."

TABLE = "measured table"
"""The basis of a node that is known by its service times."""


def sources(document: Document) -> list[Block]:
    """Where the numbers come from: the stack in words, the profile's own accuracy, every value's source."""
    said = times_words(document) if isinstance(document.get("service_times_of"), str) else []
    said += profiles_of(document)
    return [Heading("Where the numbers come from"), *said] if said else []


def times_words(document: Document) -> list[Block]:
    """What is in the service times, how far to trust them, and what their error does to the answer."""
    blocks: list[Block] = [Prose(f"Service times: {document['service_times_of']}.")]
    error = document.get("error_of_service_times") or {}
    basis = document.get("basis")
    if error.get("cpu") is None:
        return [*blocks, Prose(f"They are {basis}.")] if basis else blocks
    said = f"{number(100 * error['cpu'], 2)} % on the cores"
    if basis == TABLE:
        of_table = f"Their error is taken to be {said}, as a logarithm: node.error_percent. {BOTH}"
        return [*blocks, Prose("They are those of a table that was measured."), Prose(of_table)]
    begin = f"They are {basis}; their" if basis else "Their"
    if error.get("accelerator") is not None:
        said += f", {number(100 * error['accelerator'], 2)} % on the accelerator"
    return [
        *blocks,
        Prose(f"{begin} error on what no fit had seen is {said}, root mean square. {BOTH}"),
    ]


def profiles_of(document: Document) -> list[Block]:
    """Of every profile among a document's inputs that is still the same: its stacks, and its values."""
    used = set(_stacks_in(document))
    named = _named_profiles(document.get("asked"))
    blocks: list[Block] = []
    for read in document["inputs"]:
        path = named.get(read["sha256"]) or _profile_path(read["name"])
        if path is None:
            continue
        if input_files([path])[0].sha256 != read["sha256"]:
            blocks.append(Prose(f"{read['name']} has changed since: its sources are left out."))
        elif (profile := profile_values(path)) is not None:
            blocks += _profile(profile, used)
    return blocks


def _profile(profile: ProfileValues, used: set[str]) -> list[Block]:
    names = [name for name in profile.stacks if name in used] or list(profile.stacks)
    values = [*profile.values, *(each for name in names for each in _values(profile, name, len(names) > 1))]
    counts = Counter(each.kind for each in values)
    listed = ", ".join(f"{counts[kind]} {kind}" for kind in (*KINDS, "other") if counts[kind])
    derived = (
        "" if profile.base is None else f"; the rest is that of {profile.base}, from which it is derived"
    )
    said = f"Profile {profile.name}: {len(values)} values, {listed}{derived}."
    for name in names:
        stack = profile.stacks[name]
        said += f" Stack {name}: {stack.describes}"
        if stack.relative_error is not None:
            said += f"; its service times are {number(100 * stack.relative_error, 2)} % off, "
            said += "root mean square, on what no fit had seen"
        said += "."
    return [Prose(said), _table(values, f"Every value of {profile.name} with its source")]


def _values(profile: ProfileValues, name: str, several: bool) -> Iterator[ValueSource]:
    for each in profile.stacks[name].values:
        yield each._replace(key=f"{name}: {each.key}") if several else each


def _table(values: Sequence[ValueSource], caption: str) -> Table:
    order = {kind: index for index, kind in enumerate((*KINDS, "other"))}
    rows = sorted(values, key=lambda each: (order[each.kind], each.key))
    return Table(
        ["value of", "value", "kind", "source"],
        [[each.key, each.value, each.kind, each.source] for each in rows],
        caption=caption,
        is_stacked=True,
    )


def _profile_path(name: str) -> Path | None:
    """Where a file of the inputs lies, if it may be a profile; None: elsewhere, or of another kind."""
    if name.startswith(PROFILES):
        try:
            return find_file("profile", name.removeprefix(PROFILES))
        except InputError:
            return None
    path = Path(name)
    is_own = path.suffix in (".yaml", ".yml") and not name.startswith(("zoo/", "scenarios/"))
    return path if is_own and path.is_file() else None


def _named_profiles(asked: object) -> dict[str, Path]:
    """By checksum, the user's profiles that a question names, and what they are derived from."""
    paths = {
        Path(name if name.endswith(SUFFIXES) else name.rpartition("@")[0])
        for name in _devices_in(asked)
        if os.path.isabs(name)
    }
    own = [path for path in sorted(paths) if is_file(path)]
    return {input_files([part])[0].sha256: part for path in own for part in _parts_of(path)}


def _parts_of(path: Path) -> list[Path]:
    try:
        return [part for part in files_of(path) if part.suffix in SUFFIXES]
    except PerfplanError:
        return [path]


def _devices_in(part: object) -> Iterator[str]:
    """Names of profiles, wherever a question says one."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key in ("cpu", "accelerators"):
                yield from (
                    each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)
                )
            yield from _devices_in(value)
    elif isinstance(part, list):
        for each in part:
            yield from _devices_in(each)


def _stacks_in(part: object) -> Iterator[str]:
    """Names of stacks, wherever a document says one: under a key of that name, or behind an @."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            if str(key).endswith("stack") and isinstance(value, str):
                yield value
            elif str(key).endswith(("cpu", "accelerators", "devices", "device")):
                yield from _behind_at(value)
            yield from _stacks_in(value)
    elif isinstance(part, list):
        for each in part:
            yield from _stacks_in(each)


def _behind_at(value: object) -> Iterator[str]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str) and "@" in each:
            yield each.rpartition("@")[2]
