"""Which software stack answers: hardware is compared, not software, so all devices of an answer have one.

Unless they are asked to differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from perfmodel.domain.base import ValueErrorAt
from perfmodel.domain.hardware import Device
from perfmodel.domain.model import RecModel
from perfmodel.domain.scenario import (
    TableNodeChoice,
)
from perfmodel.errors import InputError
from perfmodel.loading.profile_file import ProfileFile
from perfmodel.loading.scenario_file import LoadedScenario, NamedFiles
from perfmodel.loading.shipped import shipped_directory, shipped_names
from perfmodel.loading.text_file import read_text
from perfmodel.loading.yaml_source import parse_yaml


class Wish(NamedTuple):
    """A device of an answer: its profile, the stack that was asked for it, and where that was written.

    `asked` is None where it was not said; `place` is a key path, empty where there is no file.
    """

    profile: ProfileFile
    asked: str | None = None
    place: tuple[str | int, ...] = ()

    def alone(self, model: RecModel) -> str:
        """The stack of this device in an answer of its own."""
        return self.asked or own_stack(self.profile, model)


def own_stack(profile: ProfileFile, model: RecModel) -> str:
    """The stack of a device in an answer of its own, where none is named; a user's model runs as a module."""
    return profile.stack_of(
        model.name, model.stack, is_module=not is_shipped(model), precision=model.reduced_precision
    )


def is_shipped(model: RecModel) -> bool:
    """Say whether a model is the shipped one of its name: whose source it names, and no user's called so."""
    if model.name not in shipped_names("model"):
        return False
    text = read_text(shipped_directory("model") / f"{model.name}.yaml")
    head = parse_yaml(text.partition("\noperators:")[0], model.name).data()  # the rest takes much longer
    return isinstance(head, dict) and head.get("source") == model.source


def wishes_of(loaded: LoadedScenario, files: NamedFiles) -> list[Wish]:
    """The devices of a scenario's node, the CPU first, and of its shards last where they are of another kind.

    What `name@stack` says goes before `node.stack`.

    A stack that a file names for its own devices does not bind others, put in their place by `--set`.
    """
    if isinstance(loaded.scenario.node, TableNodeChoice):
        return []
    named = stack = loaded.scenario.node.stack
    profiles = [*files.profiles, *(() if files.shard_profile is None else (files.shard_profile,))]
    if loaded.has_changed_devices and any(stack not in each.profile.stack_names for each in profiles):
        stack = None
    return [
        Wish(each.profile, each.stack or stack, each.place[:2] if named is None else ("node", "stack"))
        for each in profiles
    ]


def choose_stacks(wishes: Sequence[Wish], model: RecModel, *, mixed: bool = False) -> list[str]:
    """Choose each device's stack: what was asked for, and one that all of them have.

    Of several that all have, the first that one of the devices would have alone, in their order.

    Parameters
    ----------
    wishes : sequence of Wish
        The devices, as the answer names them.
    model : RecModel
        What runs on them.
    mixed : bool
        Whether they may differ: then each takes the first's where it has it, else its own.

    Raises
    ------
    ValueErrorAt
        If a profile has no such stack; or, unless `mixed`, if they have none in common. Names what each has.
    """
    if mixed:
        return _each_its_own(wishes, model)
    asked = {wish.asked for wish in wishes if wish.asked is not None}
    known = {name for wish in wishes for name in wish.profile.stack_names}
    for wish in wishes:
        if wish.asked is not None and (wish.asked not in known or len(wishes) == 1):
            _require_stack(wish)
    shared = [
        name
        for name in wishes[0].profile.stack_names
        if all(name in wish.profile.stack_names for wish in wishes)
    ]
    wanted = [name for name in shared if not asked or asked == {name}]
    if not wanted:
        raise _nothing_shared(wishes, shared)
    preferred = [wish.alone(model) for wish in wishes]
    return [next((name for name in preferred if name in wanted), wanted[0])] * len(wishes)


def _each_its_own(wishes: Sequence[Wish], model: RecModel) -> list[str]:
    """The first device's stack, and each other's: as asked, else the first's, else its own."""
    _require_stack(wishes[0])
    first = wishes[0].alone(model)
    return [
        next(
            (name for name in (wish.asked, first) if name is not None and name in wish.profile.stack_names),
            own_stack(wish.profile, model),
        )
        for wish in wishes
    ]


def _require_stack(wish: Wish) -> None:
    """Refuse a stack that a profile does not have, and name those that it has."""
    stacks = wish.profile.stack_names
    if wish.asked is not None and wish.asked not in stacks:
        lacks = f"{wish.profile.name} has no stack {wish.asked!r}; it has {', '.join(stacks)}"
        raise ValueErrorAt(lacks, wish.place)


def _nothing_shared(wishes: Sequence[Wish], shared: Sequence[str]) -> ValueErrorAt:
    """What each device has and was asked for, and what to do; at one that lacks what it was asked for."""
    each: Mapping[str, str] = {
        wish.profile.name + (f"@{wish.asked}" if wish.asked else ""): ", ".join(wish.profile.stack_names)
        for wish in wishes
    }
    listed = "; ".join(f"{name} has {stacks}" for name, stacks in each.items())
    remedy = f"name {' or '.join(shared)}, which all have" if shared else "none is common to all"
    lacking = (
        wish for wish in wishes if wish.asked is not None and wish.asked not in wish.profile.stack_names
    )
    return ValueErrorAt(
        f"expected one software stack for all devices, or software is compared: {listed}; {remedy} "
        "(--mixed-stacks answers all the same)",
        next(lacking, wishes[-1]).place,
    )


def stack_note(named: str | None, wishes: Sequence[Wish], stacks: Sequence[str]) -> str | None:
    """Say that a file's stack gave way, to devices that `--set` put in the place of its own."""
    if named is None or named in stacks or any(wish.asked for wish in wishes):
        return None
    without = ", ".join(wish.profile.name for wish in wishes if named not in wish.profile.stack_names)
    return f"node.stack: {without} was not measured with {named}; all times are those of {stacks[0]}"


def devices_of(wishes: Sequence[Wish], stacks: Sequence[str], model: RecModel | None) -> list[Device]:
    """The devices with these stacks."""
    return [_device(wish, stack, model) for wish, stack in zip(wishes, stacks, strict=True)]


def _device(wish: Wish, stack: str, model: RecModel | None) -> Device:
    """The device; of a user's model on a core whose modules nobody measured, with the error that this adds.

    Who asks for a stack by its name knows what runs.
    """
    device = wish.profile.device(stack)
    if model is None or wish.asked is not None or device.modules is not None:
        return device
    if is_shipped(model):
        return device
    return device.as_unmeasured_modules() if device.kind == "cpu" and device.surfaces else device


def shared_stack(read: Sequence[tuple[LoadedScenario, NamedFiles]], wishes: Sequence[Sequence[Wish]]) -> str:
    """The stack that all devices have; empty where no node has a profile, and none has to be chosen."""
    model = next((files.model for _, files in read if files.model is not None), None)
    if model is None:
        return ""
    known = {name for each in wishes for wish in each for name in wish.profile.stack_names}
    for (loaded, _), own in zip(read, wishes, strict=True):
        with loaded.places():
            for wish in own:
                if wish.asked not in known:
                    _require_stack(wish)
    try:
        return choose_stacks([wish for each in wishes for wish in each], model)[0]
    except ValueErrorAt as error:  # about all of the scenarios
        raise InputError(error.message) from None
