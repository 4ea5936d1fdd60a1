"""A question asked with a policy that the user brings, instead of the scenario's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.policy_class import installed_policy_class, policy_class_of_file
from perfmodel.planning.question import Question
from perfmodel.sim.engines import EngineName
from perfmodel.sim.user_decisions import user_policy


def with_own_policy(
    question: Question, *, file: Path | None = None, name: str | None = None, engine: EngineName = "auto"
) -> Question:
    """Ask a question with a policy from a Python file or an entry point; shedding stays the scenario's.

    Parameters
    ----------
    question : Question
        The scenario's.
    file : Path, optional
        A Python file with one policy class. It is executed.
    name : str, optional
        A policy of the entry-point group `perfplan.policies`. Its module is executed.
    engine : {"auto", "compiled", "simpy"}
        What will simulate; "simpy" spares the compilation.

    Raises
    ------
    InputError
        If both are given, or the policy cannot be used.
    """
    kind = _chosen(file, name)
    if kind is None:
        return question
    policy = user_policy(
        kind,
        has_accelerator=question.node.num_accelerators > 0,
        max_items=question.max_items,
        shedding=question.policy.shedding,
        compiles=engine != "simpy",
    )
    return replace(question, policy=policy)


def _chosen(file: Path | None, name: str | None) -> type[Any] | None:
    if file is not None and name is not None:
        raise InputError("--policy and --policy-file: expected one of them, got both")
    if file is not None:
        return policy_class_of_file(file)
    return None if name is None else installed_policy_class(name)
