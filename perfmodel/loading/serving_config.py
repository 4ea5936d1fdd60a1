"""Serving configurations of other tools: Triton's `config.pbtxt`, TorchServe's model configuration.

What they say of batching and instances is read; all else of them says nothing about load, and is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from perfmodel.errors import InputError
from perfmodel.loading.text_file import read_text
from perfmodel.loading.words import quoted
from perfmodel.loading.yaml_source import parse_node
from perfmodel.loading.yaml_tree import Listing, Section, YamlSource

MOST_BYTES = 1_000_000
MOST_DEPTH = 20
LARGEST = 10**9
"""Batches, delays and counts are smaller."""
MICROSECOND_MS = 1e-3

TRITON_FIELDS = {
    *("name", "platform", "backend", "runtime", "version_policy", "max_batch_size", "input", "output"),
    *("batch_input", "batch_output", "optimization", "dynamic_batching", "sequence_batching"),
    *("ensemble_scheduling", "instance_group", "default_model_filename", "parameters", "model_warmup"),
}
"""Fields of Triton's model configuration (model_config.proto), most of them: a file with none is another."""

TORCHSERVE_DELAY_MS = 100.0
"""`maxBatchDelay` where it is not said, by TorchServe's documentation. [ms]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfig:
    """What a serving configuration says of batching.

    Attributes
    ----------
    tool : {"triton", "torchserve"}
        Whose it is.
    max_batch : int
        Largest batch: of items (Triton), or of requests (TorchServe).
    preferred : tuple of int
        Batch sizes that are sent as soon as they are full; empty: `max_batch` alone. [items]
    delay_ms : float or None
        How long a request may wait for others; None: requests are not joined. [ms]
    cpu_instances, gpu_instances : int or None
        Executors; None: not said.
    gpus : int
        Cards that the instances lie on; 0 without.
    """

    tool: Literal["triton", "torchserve"]
    max_batch: int
    preferred: tuple[int, ...] = ()
    delay_ms: float | None = None
    cpu_instances: int | None = None
    gpu_instances: int | None = None
    gpus: int = 0

    @property
    def full_batch(self) -> int:
        """The batch that is not waited beyond: the largest preferred one, where there are any."""
        return max(self.preferred, default=self.max_batch)


def read_triton(path: Path) -> ServingConfig:
    """Read what a `config.pbtxt` says of batching and instances.

    Raises
    ------
    InputError
        One line, `file:line:column: what is wrong`.
    """
    message = _Parser(read_text(path, most_bytes=MOST_BYTES), str(path)).message()
    if message and not message.keys() & TRITON_FIELDS:
        raise InputError(
            f"{path}:1:1: expected a model configuration of Triton, with max_batch_size or instance_group, "
            f"found {quoted(next(iter(message)))}"
        )
    max_batch = _whole(message, "max_batch_size", 0)
    batching = _last(message, "dynamic_batching")
    preferred: tuple[int, ...] = ()
    delay_ms = None
    if batching is not None:
        section = _section(batching)
        preferred = tuple(_number(each, 1) for each in section.get("preferred_batch_size", ()))
        delay_ms = MICROSECOND_MS * _whole(section, "max_queue_delay_microseconds", 0)
        if max_batch == 0:
            raise InputError(f"{batching.place}: dynamic_batching: expected max_batch_size > 0 beside it")
        for each in section.get("preferred_batch_size", ()):
            if _number(each, 1) > max_batch:
                raise InputError(
                    f"{each.place}: preferred_batch_size: expected at most max_batch_size, {max_batch}, "
                    f"got {each.text}"
                )
    cpus = cards = gpu_instances = None
    for group in message.get("instance_group", ()):
        section = _section(group)
        kind, count = _last(section, "kind"), _whole(section, "count", 1)
        on = len(section.get("gpus", ()))
        if kind is not None and kind.text == "KIND_CPU":
            cpus = (cpus or 0) + count
        else:  # KIND_AUTO, KIND_GPU, KIND_MODEL: on the cards where there are any
            if kind is not None and kind.text not in ("KIND_AUTO", "KIND_GPU", "KIND_MODEL"):
                raise InputError(
                    f"{kind.place}: kind: expected KIND_CPU, KIND_GPU, KIND_AUTO or KIND_MODEL, "
                    f"got {quoted(kind.text)}"
                )
            if kind is None and not on:
                cpus = (cpus or 0) + count  # what there is is not known here: without cards, cores
                continue
            cards = (cards or 0) + max(1, on)
            gpu_instances = (gpu_instances or 0) + count * max(1, on)
    return ServingConfig(
        tool="triton",
        max_batch=max(1, max_batch),
        preferred=preferred,
        delay_ms=delay_ms,
        cpu_instances=cpus,
        gpu_instances=gpu_instances,
        gpus=cards or 0,
    )


def read_torchserve(path: Path) -> ServingConfig:
    """Read what a model configuration (YAML), or the management API's description (JSON), says of batching.

    Raises
    ------
    InputError
        One line, `file:line:column: what is wrong`.
    """
    source = _torchserve_source(path)
    document = source.data()
    assert isinstance(document, Mapping), "the top level of a YAML source is a section"
    if "batchSize" not in document and "maxBatchDelay" not in document:
        raise source.error("expected batchSize or maxBatchDelay, found neither")

    def number(key: str, least: int) -> int | None:
        value = document.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < LARGEST:
            expected = f"expected a whole number from {least} to {LARGEST - 1:_}"
            raise source.error(f"{expected}, got {quoted(str(value))}", key)
        return value

    batch, delay = number("batchSize", 1) or 1, number("maxBatchDelay", 0)
    workers = number("minWorkers", 1) or number("maxWorkers", 1)
    on_cards = str(document.get("deviceType", "cpu")).lower() in ("gpu", "cuda")
    delay_ms = TORCHSERVE_DELAY_MS if delay is None else float(delay)
    return ServingConfig(
        tool="torchserve",
        max_batch=batch,
        delay_ms=None if batch == 1 else delay_ms,
        cpu_instances=None if on_cards else workers,
        gpu_instances=workers if on_cards else None,
        gpus=(workers or 1) if on_cards else 0,
    )


def _torchserve_source(path: Path) -> YamlSource:
    """Read the configuration, or the first of the descriptions that the management API lists."""
    text = read_text(path, most_bytes=MOST_BYTES)
    node = parse_node(text, str(path))
    if text.lstrip().startswith("[") and isinstance(node, Listing) and node.items:
        node = node.items[0]
    if not isinstance(node, Section):
        if node is None:
            raise InputError(f"{path}:1:1: the file is empty")
        raise InputError(f"{path}:1:1: expected a model configuration, with batchSize and maxBatchDelay")
    return YamlSource(name=str(path), directory=path.parent, root=node)


class _Value(NamedTuple):
    """A value of a field: text, or a message; and where it stands."""

    text: str
    message: Mapping[str, list[_Value]] | None
    place: str


_Message = dict[str, list[_Value]]

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+|\#[^\n]*)
    | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<word>[-+]?[A-Za-z0-9_.]+)
    | (?P<mark>[{}\[\]<>:,;])""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    place: str


class _Parser:
    """Text of protocol buffers: `key: value`, `key { ... }`, lists in brackets, whatever a field means."""

    def __init__(self, text: str, name: str) -> None:
        self._tokens = list(_tokens(text, name))
        self._next = 0

    def message(self, end: str = "", depth: int = 0) -> _Message:
        """Read fields up to the end of the message, or of the file."""
        found: _Message = {}
        while True:
            token = self._take()
            if token.text == end and token.kind in ("mark", "end"):
                return found
            if token.kind != "word":
                raise InputError(f"{token.place}: expected the name of a field, got {_shown(token)}")
            if depth > MOST_DEPTH:
                raise InputError(f"{token.place}: nested more than {MOST_DEPTH} levels deep")
            colon = self._peek().text == ":"
            if colon:
                self._take()
            found.setdefault(token.text, []).extend(self._values(token, colon, depth))
            if self._peek().text in (",", ";"):
                self._take()

    def _values(self, name: _Token, colon: bool, depth: int) -> Iterator[_Value]:
        if self._peek().text != "[":
            yield self._value(name, colon, depth)
            return
        self._take()
        while self._peek().text != "]":
            yield self._value(name, colon, depth)
            if self._peek().text == ",":
                self._take()
        self._take()

    def _value(self, name: _Token, colon: bool, depth: int) -> _Value:
        token = self._take()
        if token.text in ("{", "<") and token.kind == "mark":
            closing = "}" if token.text == "{" else ">"
            return _Value("", self.message(closing, depth + 1), token.place)
        if token.kind == "word" and colon:
            return _Value(token.text, None, token.place)
        if token.kind == "text" and colon:
            text = token.text[1:-1]
            while self._peek().kind == "text":  # texts beside each other are one
                text += self._take().text[1:-1]
            return _Value(text, None, token.place)
        raise InputError(f"{token.place}: {name.text}: expected a value, got {_shown(token)}")

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token


def _tokens(text: str, name: str) -> Iterator[_Token]:
    at, line, start = 0, 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        place = f"{name}:{line}:{at - start + 1}"
        if match is None:
            raise InputError(f"{place}: unexpected {quoted(text[at])}")
        kind = str(match.lastgroup)
        if kind != "space":
            yield _Token(kind, match[0], place)
        if newlines := match[0].count("\n"):
            line, start = line + newlines, at + match[0].rindex("\n") + 1
        at = match.end()
    yield _Token("end", "", f"{name}:{line}:{at - start + 1}")


def _shown(token: _Token) -> str:
    return "the end of the file" if token.kind == "end" else quoted(token.text)


def _last(message: Mapping[str, list[_Value]], key: str) -> _Value | None:
    values = message.get(key)
    return values[-1] if values else None


def _section(value: _Value) -> Mapping[str, list[_Value]]:
    if value.message is None:
        raise InputError(f"{value.place}: expected a message in braces, got {quoted(value.text)}")
    return value.message


def _whole(message: Mapping[str, list[_Value]], key: str, otherwise: int) -> int:
    value = _last(message, key)
    return otherwise if value is None else _number(value, 0, key)


def _number(value: _Value, least: int, key: str = "preferred_batch_size") -> int:
    if (
        value.text.isascii()
        and value.text.isdecimal()
        and len(value.text) < len(str(LARGEST))
        and int(value.text) >= least
    ):
        return int(value.text)
    raise InputError(
        f"{value.place}: {key}: expected a whole number >= {least}, got {quoted(value.text) or 'a message'}"
    )
