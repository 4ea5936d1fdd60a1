"""One software stack for all devices of an answer: hardware is compared, not software."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from perfmodel.domain.model import RecModel
from perfmodel.errors import InputError
from perfmodel.loading.profile_file import ProfileFile


class Wish(NamedTuple):
    """A device of an answer: its profile, and the stack that was asked for it; None: it was not said."""

    profile: ProfileFile
    asked: str | None = None

    def alone(self, model: RecModel) -> str:
        """The stack of this device in an answer of its own."""
        return self.asked or self.profile.stack_of(model.name, model.stack)


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
    InputError
        If a profile has no such stack; or, unless `mixed`, if they have none in common. Names what each has.
    """
    if mixed:
        return _each_its_own(wishes, model)
    asked = {wish.asked for wish in wishes if wish.asked is not None}
    known = {name for wish in wishes for name in wish.profile.stacks}
    for wish in wishes:
        if wish.asked is not None and (wish.asked not in known or len(wishes) == 1):
            require_stack(wish.profile, wish.asked)
    shared = [
        name for name in wishes[0].profile.stacks if all(name in wish.profile.stacks for wish in wishes)
    ]
    wanted = [name for name in shared if not asked or asked == {name}]
    if not wanted:
        raise InputError(_nothing_shared(wishes, shared))
    preferred = [wish.alone(model) for wish in wishes]
    return [next((name for name in preferred if name in wanted), wanted[0])] * len(wishes)


def _each_its_own(wishes: Sequence[Wish], model: RecModel) -> list[str]:
    """The first device's stack, and each other's: as asked, else the first's, else its own."""
    require_stack(wishes[0].profile, wishes[0].asked)
    first = wishes[0].alone(model)
    return [
        next(
            (name for name in (wish.asked, first) if name is not None and name in wish.profile.stacks),
            wish.profile.stack_of(model.name, model.stack),
        )
        for wish in wishes
    ]


def require_stack(profile: ProfileFile, stack: str | None) -> None:
    """Refuse a stack that a profile does not have.

    Raises
    ------
    InputError
        Naming those that it has.
    """
    if stack is not None and stack not in profile.stacks:
        known = ", ".join(profile.stacks)
        raise InputError(f"{profile.name} has no stack {stack!r}; it has {known}")


def _nothing_shared(wishes: Sequence[Wish], shared: Sequence[str]) -> str:
    """What each device has and was asked for, and what to do."""
    each: Mapping[str, str] = {
        wish.profile.name + (f"@{wish.asked}" if wish.asked else ""): ", ".join(wish.profile.stacks)
        for wish in wishes
    }
    listed = "; ".join(f"{name} has {stacks}" for name, stacks in each.items())
    remedy = f"name {' or '.join(shared)}, which all have" if shared else "none is common to all"
    return (
        f"expected one software stack for all devices, or software is compared: {listed}; {remedy} "
        "(--mixed-stacks answers all the same)"
    )
