"""What a page says of where its service times come from."""

from __future__ import annotations

from typing import Any

import pytest

from perfmodel.report.pages.sources import times_words

STACK = {"service_times_of": "a stack"}
ERROR = {"error_of_service_times": {"cpu": 0.22, "accelerator": None}}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({**STACK}, None),  # an explanation keeps no basis: nothing is said, not that it is unknown
        ({**STACK, "basis": "fitted"}, "They are fitted."),
        ({**STACK, **ERROR}, "Their error on what no fit had seen is 22 % on the cores"),
        (
            {**STACK, **ERROR, "basis": "fitted"},
            "They are fitted; their error on what no fit had seen is 22 %",
        ),
    ],
)
def test_a_page_says_of_service_times_what_the_answer_knows(
    document: dict[str, Any], said: str | None
) -> None:
    first, *rest = (block.to_html().replace("\u00a0", " ") for block in times_words(document))
    assert "Service times: a stack." in first
    assert len(rest) == (said is not None)
    assert said is None or said in rest[0]
