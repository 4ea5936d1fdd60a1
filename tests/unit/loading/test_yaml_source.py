"""Safe YAML: what is a number, what is text, what is refused, and where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.yaml_source import parse_value, parse_yaml, read_yaml
from perfmodel.loading.yaml_tree import Data, Place


def value_of(text: str) -> Data:
    data = parse_yaml(f"key: {text}\n", "a.yaml").data()
    assert isinstance(data, dict)
    return data["key"]


def error_of(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "a.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("400", 400),
        ("-3", -3),
        ("+7", 7),
        ("4_000_000", 4_000_000),
        ("1e6", 1_000_000),
        ("2.5E3", 2500),
        ("1e-3", 1e-3),
        ("1e300", 1e300),
        ("2.5E-3", 2.5e-3),
        (".5", 0.5),
        ("5.", 5.0),
        ("1_0.5", 10.5),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
    ],
)
def test_numbers_and_words_are_read_as_such(text: str, value: Data) -> None:
    read = value_of(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text",
    ["yes", "no", "on", "off", "y", "2020-01-01", "010", "0x10", "0o17", "1:30", "1_", "e6", "1.2.3", "="],
)
def test_what_yaml_1_1_would_convert_stays_text(text: str) -> None:
    assert value_of(text) == text


@pytest.mark.parametrize("text", ["'400'", '"1e6"', "'true'", "'null'"])
def test_quoted_values_are_text(text: str) -> None:
    assert value_of(text) == text.strip("'\"")


def test_keys_are_text_and_never_converted() -> None:
    assert parse_yaml("1: a\nyes: b\nnull: c\n", "a.yaml").data() == {"1": "a", "yes": "b", "null": "c"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "a.yaml:1:1: the file is empty"),
        ("# only a comment\n", "a.yaml:1:1: the file is empty"),
        ("- a\n", "a.yaml:1:1: expected a section (key: value) at the top level"),
        ("hello\n", "a.yaml:1:1: expected a section (key: value) at the top level"),
        ("a: 1\nb: 2\na: 3\n", "a.yaml:3:1: duplicate key 'a', first given at a.yaml:1:1"),
        ("a: {b: 1, b: 2}\n", "a.yaml:1:11: duplicate key 'b', first given at a.yaml:1:5"),
        ("a: 1\n---\nb: 2\n", "a.yaml:2:1: a second document; expected one in a file"),
        ("a: !!str 3\n", "a.yaml:1:4: tags are not allowed, got !!str"),
        (
            "a: !!python/object/apply:os.system [x]\n",
            "a.yaml:1:4: tags are not allowed, got !!python/object/apply:os.system",
        ),
        ("a: !local 3\n", "a.yaml:1:4: tags are not allowed, got !local"),
        ("a: &x 1\n<<: {b: 2}\n", "a.yaml:2:1: merge keys (<<) are not supported; write the keys out"),
        ("? [a]\n: b\n", "a.yaml:1:3: expected a plain key"),
        ("a: *x\n", "a.yaml:1:4: unknown alias *x; its anchor must end before it"),
        ("a: &x [*x]\n", "a.yaml:1:8: unknown alias *x; its anchor must end before it"),
        (f"a: {'9' * 500}\n", "a.yaml:1:4: a number of 500 digits is too long"),
        ("a: \x07\n", "a.yaml:1:4: unprintable character U+0007"),
    ],
)
def test_what_is_refused_is_located(text: str, error: str) -> None:
    if "\x07" in text:  # raw control characters are found while the file is read
        with pytest.raises(InputError, match="unprintable"):
            parse_value(text, Place("--set a", option_path=("a",)))
        return
    assert error_of(text) == error


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\n\tb: 2\n", "a.yaml:2:1"),
        ("a: [1\n", "a.yaml:2:1"),
        ("a: b: c\n", "a.yaml:1:5"),
        ("a: @x\n", "a.yaml:1:4"),
    ],
)
def test_broken_yaml_is_one_located_line(text: str, place: str) -> None:
    error = error_of(text)
    assert error.startswith(f"{place}: not valid YAML: ")
    assert "\n" not in error


def test_aliases_repeat_a_value() -> None:
    assert parse_yaml("a: &x [1, 2]\nb: *x\n", "a.yaml").data() == {"a": [1, 2], "b": [1, 2]}


def test_an_alias_bomb_is_refused_before_it_expands() -> None:
    lines = [f"a: &a [{', '.join(['x'] * 10)}]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    assert "expands to more than" in error_of("\n".join(lines))


def test_deep_nesting_is_refused() -> None:
    assert error_of("a: " + "[" * 100) == "a.yaml:1:64: nested more than 60 levels deep"


def test_nesting_beyond_what_the_parser_reads_ahead_is_one_located_line() -> None:
    # Whether the parser gives up first, and in which words, is its own affair: releases of it differ.
    error = error_of("a: " + "[" * 100_000)
    assert re.match(r"a\.yaml:1:\d+: ", error)
    assert "\n" not in error


def test_columns_count_characters_not_bytes() -> None:
    assert error_of("é: {ü: 1, ü: 2}\n").startswith("a.yaml:1:11: duplicate key 'ü'")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"a: 1\nb: \xff\n", ":2:4: not UTF-8 text"),
        (b"", ":1:1: the file is empty"),
        (b"a: \x00\n", ":1:4: unprintable character U+0000"),
        (b"\xff\xfea\x00", ":1:1: not UTF-8 text"),
    ],
)
def test_bad_bytes_are_located(tmp_path: Path, content: bytes, error: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_yaml(file)
    assert str(caught.value) == f"{file}{error}"


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    source = read_yaml(file)
    assert source.data() == {"a": 1, "b": 2}
    assert source.locate("b") == f"{file}:2:4"


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot read the file: (No such file|Is a directory)"):
        read_yaml(tmp_path / name)


def test_values_and_keys_are_located() -> None:
    source = parse_yaml("operators:\n  - name: a\n    widths: [4,  2]\n", "a.yaml")
    assert source.locate("operators") == "a.yaml:2:3"
    assert source.locate("operators", 0, "widths", 1) == "a.yaml:3:18"
    assert str(source.key_place("operators", 0, "widths")) == "a.yaml:3:5"
    assert str(source.error("too small", "operators", 0, "widths", 1)) == "a.yaml:3:18: widths.1: too small"


def test_what_was_not_written_is_located_at_the_section_that_lacks_it() -> None:
    source = parse_yaml("a:\n  b: {c: 1}\n", "a.yaml")
    assert source.locate("a", "b", "d", "e") == "a.yaml:2:3"
    assert source.locate("x") == "a.yaml:1:1"


def test_a_file_of_ten_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text("key: 1\n" * 1_500_000)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert str(caught.value) == f"{path}:1:1: the file has 10.5 MB; expected at most 8 MB"
