"""`--over KEY=v1,v2,...`: the values that a sweep gives a key, written out or as a range.

A value is YAML, as for `--set`; commas inside brackets or quotes part nothing. Ranges, both ends included:

| written | values |
|---|---|
| `a:b:n` | n of them at equal distances |
| `a..b+s` | a, a + s, ... up to b |
| `a..b*f` | a, a f, a f^2, ... up to b: equal steps of the logarithm |

Whole ends and steps give whole numbers where they fall on whole numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import floor, isfinite, log
from typing import Any

from perfmodel.errors import InputError
from perfmodel.loading.words import cut, quoted
from perfmodel.loading.yaml_source import parse_value
from perfmodel.loading.yaml_tree import Place, Scalar, ScalarValue

MOST_VALUES = 10_000
"""Of one key."""

_NUMBER = r"([-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
_EQUAL = re.compile(rf"{_NUMBER}:{_NUMBER}:([0-9]+)")
_STEPS = re.compile(rf"{_NUMBER}\.\.{_NUMBER}([+*]){_NUMBER}")
_NO_COUNT = re.compile(rf"{_NUMBER}:{_NUMBER}:{_NUMBER}")
_NO_STEP = re.compile(rf"{_NUMBER}\.\.{_NUMBER}")
_ROUNDING = 1e-9
"""Of the number of steps: the last of `0.1..0.3+0.1` is 0.3. [1]"""


@dataclass(frozen=True, slots=True)
class SweptValue:
    """A value of a key.

    Attributes
    ----------
    text : str
        As `--set KEY=text` takes it.
    shown : str, int, float, bool or None
        What a table shows; of lists and sections their text.
    """

    text: str
    shown: ScalarValue


@dataclass(frozen=True, slots=True)
class SweptKey:
    """A key of a scenario and the values that it is given, in their order."""

    key: str
    values: tuple[SweptValue, ...]


def parse_over(option: str) -> SweptKey:
    """Read one `KEY=v1,v2,...`.

    Raises
    ------
    InputError
        One line that begins with the option.

    Examples
    --------
    >>> [value.shown for value in parse_over("policy.batch_size=1,16..128*2").values]
    [1, 16, 32, 64, 128]
    >>> [value.shown for value in parse_over("sla.latency_ms=5:10:3").values]
    [5, 7.5, 10]
    >>> [value.text for value in parse_over("node.accelerators=[],[gtx1080ti, gtx1080ti]").values]
    ['[]', '[gtx1080ti, gtx1080ti]']
    """
    key, equals, text = option.partition("=")
    key = key.strip()
    if not (equals and key and text.strip()):
        raise InputError(
            f"--over {cut(option)}: expected KEY=VALUE,VALUE,..., such as policy.batch_size=16,32,64"
        )
    place = f"--over {cut(key)}"
    return _key(key, [value for part in _parts(text, place) for value in _values(part, place)], place)


def swept_key(key: str, values: Iterable[Any] | str) -> SweptKey:
    """Values that Python code gives a key: anything that YAML can say, or a text as for `--over`.

    Examples
    --------
    >>> [value.text for value in swept_key("policy.offload_threshold_items", [None, 100]).values]
    ['null', '100']
    """
    import json  # few questions are of many points from Python

    if isinstance(values, str):
        return parse_over(f"{key}={values}")
    place = f"over {cut(key)}"
    try:
        texts = [json.dumps(value, ensure_ascii=False) for value in values]
    except (TypeError, ValueError):
        raise InputError(f"{place}: expected a list of values that YAML can say") from None
    return _key(key, [_value(text, place) for text in texts], place)


def _key(key: str, values: list[SweptValue], place: str) -> SweptKey:
    if not values:
        raise InputError(f"{place}: expected at least one value")
    if len(values) > MOST_VALUES:
        raise InputError(f"{place}: expected at most {MOST_VALUES:_} values, got {len(values):_}")
    seen = set[str]()
    for value in values:
        if value.text in seen:
            raise InputError(f"{place}: {cut(value.text)} is given twice")
        seen.add(value.text)
    return SweptKey(key, tuple(values))


def _parts(text: str, place: str) -> Iterator[str]:
    """Part at the commas outside of brackets and quotes."""
    depth, quote, start = 0, "", 0
    for index, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            yield text[start:index]
            start = index + 1
    if quote or depth:
        raise InputError(f"{place}: {quoted(text)}: a bracket or a quotation mark is not closed")
    yield text[start:]


def _values(part: str, place: str) -> Iterator[SweptValue]:
    text = part.strip()
    if not text:
        raise InputError(f"{place}: expected a value between the commas (null for none)")
    if (match := _EQUAL.fullmatch(text)) is not None:
        yield from _equal_distances(text, match, place)
    elif (match := _STEPS.fullmatch(text)) is not None:
        yield from _stepwise(text, match, place)
    elif _NO_STEP.fullmatch(text) is not None:
        raise InputError(f"{place}: {text}: expected a step or a factor too, such as {text}+10 or {text}*2")
    elif (match := _NO_COUNT.fullmatch(text)) is not None:
        ends = f"{match[1]}:{match[2]}"
        steps = f"{match[1]}..{match[2]}+{match[3]}"
        raise InputError(
            f"{place}: {text}: expected how many values last, such as {ends}:5 (in steps: {steps})"
        )
    else:
        yield _value(text, place)


def _value(text: str, place: str) -> SweptValue:
    node = parse_value(text, Place(place, option_path=()))
    return SweptValue(text, node.value if isinstance(node, Scalar) else text)


def _equal_distances(text: str, match: re.Match[str], place: str) -> Iterator[SweptValue]:
    first, last, count = _read(match[1]), _read(match[2]), int(match[3][:9])
    if count < 2 or count > MOST_VALUES:
        raise InputError(f"{place}: {text}: expected 2 to {MOST_VALUES:_} values, got {match[3]}")
    yield from _numbers(first + (last - first) * index / (count - 1) for index in range(count))


def _stepwise(text: str, match: re.Match[str], place: str) -> Iterator[SweptValue]:
    first, last, step = _read(match[1]), _read(match[2]), _read(match[4])
    if match[3] == "+":
        steps = (last - first) / step if step > 0.0 and last >= first else None
        expected = "ascending ends and a step > 0, such as 100..500+50"
    else:
        steps = log(last / first) / log(step) if step > 1.0 and last >= first > 0.0 else None
        expected = "ascending ends > 0 and a factor > 1, such as 16..1024*2"
    if steps is None or not isfinite(steps):
        raise InputError(f"{place}: {text}: expected {expected}")
    count = floor(steps + _ROUNDING) + 1
    if count > MOST_VALUES:
        raise InputError(f"{place}: {text}: expected at most {MOST_VALUES:_} values, got {count:_}")
    additive = match[3] == "+"
    yield from _numbers(first + step * k if additive else first * step**k for k in range(count))


def _read(text: str) -> float:
    return float(text)


def _numbers(values: Iterable[float]) -> Iterator[SweptValue]:
    """Numbers without the noise of their computation, whole ones as whole numbers."""
    for value in values:
        tidy = float(f"{value:.12g}")
        shown = int(tidy) if tidy.is_integer() and abs(tidy) < 1e15 else tidy
        yield SweptValue(repr(shown), shown)
