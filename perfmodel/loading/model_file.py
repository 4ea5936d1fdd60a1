"""Write a model as a file, in the form of the shipped ones: an operator a line, defaults left out."""

from __future__ import annotations

from typing import Any

import yaml

from perfmodel.domain.model import RecModel

_WIDE = 10**6  # no line breaks inside an operator
_MOST_TABLES = 4


def model_text(model: RecModel) -> str:
    """Return the YAML document of a model; reading it gives an equal model.

    Examples
    --------
    >>> from perfmodel.domain.operators import Mlp
    >>> layer = Mlp(name="top", kind="mlp", input="dense", widths=(4, 8, 1))
    >>> print(model_text(RecModel(name="tiny", dense_features=4, operators=(layer,))), end="")
    name: tiny
    dense_features: 4
    operators:
      - {name: top, kind: mlp, input: dense, widths: [4, 8, 1]}
    """
    values = model.model_dump(mode="json", exclude_defaults=True)
    operators = values.pop("operators")
    head = yaml.safe_dump(values, sort_keys=False, width=_WIDE, allow_unicode=True)
    return head + "operators:\n" + "".join(_operator(operator) for operator in operators)


def _operator(values: dict[str, Any]) -> str:
    """One line; many tables stand below it, one a line."""
    ordered = {"name": values["name"], "kind": values["kind"], **_whole(values)}
    tables = ordered.get("tables", [])
    if len(tables) <= _MOST_TABLES:
        return f"  - {_flow(ordered)}\n"
    keys = [f"{key}: {_flow(value)}" for key, value in ordered.items() if key != "tables"]
    lines = [*keys, "tables:", *(f"  - {_flow(table)}" for table in tables)]
    return "  - " + "\n    ".join(lines) + "\n"


def _flow(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=_WIDE, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _whole(value: Any) -> Any:
    """Write whole numbers without a point, as people do."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
