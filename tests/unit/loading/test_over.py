"""What `--over` means: lists, ranges, and what is neither."""

from __future__ import annotations

import pytest

from perfmodel.errors import InputError
from perfmodel.loading.over import parse_over, swept_key


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("a=1", [1]),
        ("a=1,2.5,x", [1, 2.5, "x"]),
        ("a=10:50:5", [10, 20, 30, 40, 50]),
        ("a=0:1:3", [0, 0.5, 1]),
        ("a=50:10:2", [50, 10]),
        ("a=100..500+150", [100, 250, 400]),
        ("a=0.1..0.3+0.1", [0.1, 0.2, 0.3]),
        ("a=16..1024*2", [16, 32, 64, 128, 256, 512, 1024]),
        ("a=1..1000*10", [1, 10, 100, 1000]),
        ("a=1,4..16*2,null", [1, 4, 8, 16, None]),
        ("a='4..16*2'", ["4..16*2"]),
        ("a=b@c,d@e", ["b@c", "d@e"]),
        ("a={x: 1, y: [2, 3]},4", ["{x: 1, y: [2, 3]}", 4]),
        ("a=../x.yaml,./y:1.yaml", ["../x.yaml", "./y:1.yaml"]),
        ("a=1:30", ["1:30"]),
    ],
)
def test_values_are_as_written(option: str, values: list[object]) -> None:
    key = parse_over(option)
    assert key.key == "a"
    assert [value.shown for value in key.values] == values


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("a", "expected KEY=VALUE"),
        ("=1", "expected KEY=VALUE"),
        ("a=", "expected KEY=VALUE"),
        ("a=1,,2", "a value between the commas"),
        ("a=1,1", "--over a: 1 is given twice"),
        ("a=16..1024*1", "a factor > 1"),
        ("a=0..1024*2", "ends > 0"),
        ("a=1024..16*2", "ascending"),
        ("a=1..5+0", "a step > 0"),
        ("a=1..5+-1", "a step > 0"),
        ("a=1..1e9+1", "at most 10_000 values, got 1_000_000_000"),
        ("a=1:2:1", "expected 2 to 10_000 values"),
        ("a=1:2:99999999999999999", "expected 2 to 10_000 values"),
        ("a=[1,2", "not closed"),
        ("a='1", "not closed"),
        ("a=[1}", "not valid YAML"),
        ("a=1e999..2+1", "expected"),
        ("a=1:2:0.5", "a: 1:2:0.5: expected how many values last, such as 1:2:5 (in steps: 1..2+0.5)"),
        ("a=16..64", "a step or a factor too, such as 16..64+10 or 16..64*2"),
    ],
)
def test_what_is_no_list_of_values_is_one_line_at_the_option(option: str, said: str) -> None:
    with pytest.raises(InputError, match=r"^--over ") as raised:
        parse_over(option)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_python_gives_values_as_they_are() -> None:
    key = swept_key("node.accelerators", [[], ["gtx1080ti"], "1..2*2", True, None])
    assert [value.text for value in key.values] == ["[]", '["gtx1080ti"]', '"1..2*2"', "true", "null"]
    assert [value.shown for value in swept_key("a", "1..4*2").values] == [1, 2, 4]
