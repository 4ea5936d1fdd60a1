"""What an interrupt leaves of an answer is said as it is: the page is there, or nothing is."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from perfmodel.cli import answering
from perfmodel.cli.answering import show, write_page
from perfmodel.errors import InterruptionError
from perfmodel.loading import written


def interrupted() -> str:
    raise KeyboardInterrupt


def test_an_interrupt_before_the_page_is_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        show(dict, interrupted, as_json=False, out=tmp_path / "p.html", html=interrupted)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_between_the_page_and_the_terminal_names_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.html"
    with pytest.raises(InterruptionError, match=r"p\.html is written and whole, the answer was not printed"):
        show(dict, interrupted, as_json=False, out=out, html=lambda: "whole")
    assert out.read_text(encoding="utf-8") == "whole"
    assert capsys.readouterr() == ("", f"written: {out}\n")


def test_an_interrupt_without_a_page_is_as_it_was() -> None:
    with pytest.raises(KeyboardInterrupt):
        show(dict, interrupted, as_json=False)


@pytest.mark.parametrize("there_before", [False, True])
def test_an_interrupt_that_falls_after_the_page_took_its_place_names_it(
    there_before: bool, tmp_path: Path
) -> None:
    out = tmp_path / "p.html"
    if there_before:
        out.write_text("of another run", encoding="utf-8")

    def too_late(path: Path, text: str) -> None:
        written.replace_whole(path, text.encode())
        raise KeyboardInterrupt

    with (
        patch.object(written, "write_atomically", too_late),
        pytest.raises(InterruptionError, match=r"p\.html is written and whole"),
    ):
        write_page(out, "whole")
    assert out.read_text(encoding="utf-8") == "whole"


def test_an_interrupt_in_the_midst_of_writing_is_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "p.html"
    out.write_text("of another run", encoding="utf-8")
    with (
        patch.object(written, "replace_whole", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        answering.write_page(out, "whole")
    assert out.read_text(encoding="utf-8") == "of another run"
