"""Turn a YAML document into a pydantic type; whatever does not fit becomes one line with its place."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from perfmodel.domain.base import OutdatedError, ValueErrorAt
from perfmodel.errors import InputError
from perfmodel.loading.expectations import (
    Expectations,
    choices_of,
    describe,
    keys_of,
    unknown_keys,
)
from perfmodel.loading.file_kinds import taken_by, told_by
from perfmodel.loading.words import nearest, quoted
from perfmodel.loading.yaml_source import LARGEST_EXACT, read_yaml
from perfmodel.loading.yaml_tree import KeyPath, Listing, Node, Scalar, Section, YamlSource, child, shown

T = TypeVar("T")

ELEMENTWISE = frozenset({"elu", "hardswish", "leaky_relu", "mish", "selu", "softplus"})
"""Functions that people write where an activation stands; layers have those of the published models."""


def parse_file(path: Path, kind: type[T]) -> T:
    """Read a YAML file into a pydantic type, strictly: exact keys, no conversion of text to numbers.

    Parameters
    ----------
    path : Path
        The file; errors name it as given here.
    kind : type
        A frozen pydantic model, or any type that pydantic validates.

    Raises
    ------
    InputError
        One line: `rm3.yaml:9:14: rate_qps: expected a number > 0, got -3`.
    """
    return validate(read_yaml(path), kind)


def validate(source: YamlSource, kind: type[T]) -> T:
    """Validate a document that has been read; keep `source` to locate later errors.

    Raises
    ------
    InputError
        One line that begins with the place of the first thing that does not fit.
    """
    known: Any = kind  # mypy takes a type for something that cannot be hashed
    adapter: TypeAdapter[T] = _adapter_of(known)
    try:
        return adapter.validate_json(json.dumps(source.data()))
    except ValidationError as error:
        expectations = Expectations(adapter.json_schema(mode="validation"))
        if (other := _of_another_kind(source, expectations)) is not None:
            raise other from None
        details, path = _most_telling(error.errors(include_url=False), source.root)
        raise _input_error(details, path, source, expectations) from None


@cache
def _adapter_of(kind: Any) -> TypeAdapter[Any]:
    """What validates a kind: a tenth of a second to make, and fleets and sweeps validate again and again."""
    return TypeAdapter(kind)


def _of_another_kind(source: YamlSource, expectations: Expectations) -> InputError | None:
    """What to say of a whole file that another command takes: of no use are the keys that it lacks."""
    assert isinstance(source.root, Section), "the top level of a YAML source is a section"
    wanted, written = told_by(keys_of(expectations.at((), source.root))), told_by(source.root.entries)
    if wanted is None or written is None or wanted == written:
        return None
    name = source.name if "." in source.name else "FILE"  # a mapping has none
    return source.error(f"expected a {wanted}, got {taken_by(written, name)}")


def _most_telling(errors: Sequence[ErrorDetails], root: Node) -> tuple[ErrorDetails, KeyPath]:
    """Choose the error to report: a misspelt key rather than the missing one, the deepest in a union."""
    located = [(error, _path_of(error, root)) for error in errors]
    if outdated := [item for item in located if isinstance(_raised(item[0]), OutdatedError)]:
        return outdated[0]
    located = [item for item in located if not _is_of_a_number(item, located)] or located
    first = next(
        (item for item in located if item[0]["type"] == "extra_forbidden"),
        next((item for item in located if item[0]["type"] != "missing"), located[0]),
    )
    within = [item for item in located if item[1][: len(first[1])] == first[1]]
    return max(within, key=lambda item: len(item[1])) if first[0]["type"] != "extra_forbidden" else first


def _is_of_a_number(item: tuple[ErrorDetails, KeyPath], located: Sequence[Any]) -> bool:
    """Whether this error says only that a section is no number, where a section may stand as well."""
    error, path = item
    others = any(other is not item and other[1][: len(path)] == path for other in located)
    return error["type"] == "float_type" and isinstance(error["input"], dict) and others


def _raised(error: ErrorDetails) -> object:
    """What a validator raised, where one did."""
    return error.get("ctx", {}).get("error")


def _path_of(error: ErrorDetails, root: Node) -> KeyPath:
    """Key path in the document of an error; pydantic's location also names branches of unions."""
    loc = error["loc"]
    if error["type"] == "missing":
        return (*_written(loc[:-1], root), loc[-1])
    return _written(loc, root)


def _written(loc: KeyPath, node: Node) -> KeyPath:
    """Longest reading of a location as keys of the document, skipping what names a branch."""
    if not loc:
        return ()
    inner = child(node, loc[0]) if isinstance(node, Section) or isinstance(loc[0], int) else None
    skipped = _written(loc[1:], node)
    if inner is None:
        return skipped
    taken = (loc[0], *_written(loc[1:], inner))
    return taken if len(taken) >= len(skipped) else skipped


def _input_error(
    details: ErrorDetails, path: KeyPath, source: YamlSource, expectations: Expectations
) -> InputError:
    """Write one error as a line: place, key, what was expected, what was found."""
    if details["loc"][-1:] == ("[key]",):
        return _bad_name(details, path, source)
    schemas = expectations.at(path, source.root)
    node = source.find(*path)
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(path, source, expectations)
        case "missing":
            return _missing_key(path, source, describe(schemas))
        case "union_tag_not_found" if isinstance(node, Section):
            tag = details["ctx"]["discriminator"].strip("'")
            for key in unknown_keys(node, schemas):
                if nearest(key, [tag]):
                    return _unknown_key((*path, key), source, expectations)
            return _missing_key((*path, tag), source, describe(expectations.at((*path, tag), source.root)))
        case "union_tag_invalid":
            path = (*path, details["ctx"]["discriminator"].strip("'"))
            schemas, node = expectations.at(path, source.root), source.find(*path)
        case "value_error":
            error = _raised(details)
            if isinstance(error, ValueErrorAt):
                return source.error(error.message, *path, *error.path)
            return source.error(str(error), *path)
        case _:
            pass
    return _unexpected_value(path, node, source, schemas, details["msg"])


LONGEST_NAME = 60
"""Characters of a name that is shown in full."""


def _bad_name(details: ErrorDetails, path: KeyPath, source: YamlSource) -> InputError:
    """A key that is a name of the reader's own, such as that of a service, and does not do as one."""
    bounds = details.get("ctx", {})
    expected = details["msg"]
    if "min_length" in bounds:
        expected = f"expected a name of at least {bounds['min_length']} character"
    elif "max_length" in bounds:
        expected = f"expected a name of at most {bounds['max_length']} characters"
    name = str(path[-1])
    got = f"one of {len(name)}" if len(name) > LONGEST_NAME else quoted(name)
    return InputError(f"{source.key_place(*path)}: {expected}, got {got}")


def _unexpected_value(
    path: KeyPath, node: Node | None, source: YamlSource, schemas: Sequence[Any], otherwise: str
) -> InputError:
    expected = describe(schemas)
    if node is None or not expected:
        return source.error(otherwise, *path)
    got = shown(node)
    if "relu" in choices_of(schemas) and isinstance(node, Scalar) and node.value in ELEMENTWISE:
        elsewhere = f"an operator of its own does it: {{kind: elementwise, function: {node.value}}}"
        return source.error(f"expected {expected}, got {got}; {elsewhere}", *path)
    if isinstance(node, Scalar) and isinstance(node.value, float) and "a whole number" in expected:
        got += _written_out(node.value)
    if isinstance(node, Listing) and "a list" in expected:
        got = f"a list of {len(node.items)}"
    return source.error(
        f"expected {expected}, got {got}{nearest(got.strip(chr(39)), choices_of(schemas))}", *path
    )


def _written_out(value: float) -> str:
    """How to write a whole number that stands there with an exponent or a point."""
    is_whole = isfinite(value) and value.is_integer() and abs(value) < LARGEST_EXACT
    return f" (write {int(value)})" if is_whole else ""


def _unknown_key(path: KeyPath, source: YamlSource, expectations: Expectations) -> InputError:
    key = str(path[-1])
    known = keys_of(expectations.at(path[:-1], source.root))
    several = "one of " if len(known) > 1 else ""
    hint = _meant(key, known) or nearest(key, known)
    hint = hint or (f"; expected {several}{', '.join(known)}" if known else "")
    return InputError(f"{source.key_place(*path)}: unknown key {quoted(key)}{_within(path[:-1])}{hint}")


ELSEWHERE = {
    "pooling_factor": ("lookups", "num_lookups", "lookups_per_item", "hotness", "multi_hot", "pooling_size"),
    "num_rows": ("num_embeddings", "hash_size", "vocab_size", "cardinality", "entries"),
    "dim": ("embedding_dim", "embedding_size", "vector_size", "width"),
    "widths": ("layers", "hidden_units", "units", "layer_sizes", "hidden_sizes"),
    "num_heads": ("heads", "n_heads", "nhead"),
    "num_layers": ("depth", "n_layers"),
    "rate_qps": ("qps", "rps", "arrival_rate"),
    "latency_ms": ("target_ms", "deadline_ms", "budget_ms"),
}
"""What other tools and papers call a key, by its name here: too far apart for likeness of letters."""


def _meant(key: str, known: Collection[str]) -> str:
    """Write `; did you mean 'x'?` for a key that goes by another name elsewhere."""
    word = key.lower().replace("-", "_")
    meant = [name for name, others in ELSEWHERE.items() if name in known and word in others]
    return f"; did you mean {meant[0]!r}?" if meant else ""


def _missing_key(path: KeyPath, source: YamlSource, expected: str) -> InputError:
    hint = f": expected {expected}" if expected else ""
    return InputError(f"{source.place(*path)}: missing key {str(path[-1])!r}{_within(path[:-1])}{hint}")


def _within(path: KeyPath) -> str:
    return f" in {'.'.join(map(str, path))}" if path else ""
