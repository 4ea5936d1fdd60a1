"""What the pages say of the repository: links lead somewhere, files that they name exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import perfmodel

CHECKOUT = Path(perfmodel.__file__).parent.parent
PAGES = sorted(
    path for path in (*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md"), *CHECKOUT.glob("benchmarks/*.md"))
)
TOP_LEVEL = ("perfmodel", "calibration", "benchmarks", "tests", "docs", "hardware_profiles", "scenarios")
ELSEWHERE = {"accelerator/predict_execution.py"}
"""Files of DeepRecSys's repository."""
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
NAMED = re.compile(r"`([\w.-]+(?:/[\w.-]+)+/?)`")
"""A path in backquotes, such as `tests/unit/sim` or `sim/simpy_fleet.py`."""
BY_COMMAND = re.compile(r"python -m ((?:calibration|benchmarks|tests|perfmodel)(?:\.\w+)+)")


def page_id(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def anchors(path: Path) -> set[str]:
    """The headings of a page, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> Iterator[str]:
    """Relative links of a page that lead nowhere."""
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        found = page.parent / target if target else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            yield f"{target}#{anchor}" if anchor else target


def missing_paths(page: Path) -> Iterator[str]:
    """Paths that a page names and that are not there: from the top, from a package, or from the page."""
    roots = (CHECKOUT, CHECKOUT / "perfmodel", CHECKOUT / "calibration", page.parent)
    for named in sorted(set(NAMED.findall(page.read_text(encoding="utf-8"))) - ELSEWHERE):
        is_ours = named.startswith(TOP_LEVEL) or named.rstrip("/").endswith((".py", ".md", ".yaml", ".csv"))
        if is_ours and not any((root / named).exists() for root in roots):
            yield named


def missing_modules(page: Path) -> Iterator[str]:
    """Modules that a page runs with `python -m` and that are not there, or that run nothing."""
    for module in BY_COMMAND.findall(page.read_text(encoding="utf-8")):
        path = CHECKOUT / module.replace(".", "/")
        source = path.with_suffix(".py")
        runs = source.exists() and '__name__ == "__main__"' in source.read_text(encoding="utf-8")
        if not (runs or (path / "__main__.py").exists()):
            yield module


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere_and_named_files_exist(page: Path) -> None:
    assert list(dead_links(page)) == []
    assert list(missing_paths(page)) == []
    assert list(missing_modules(page)) == []


def test_what_is_not_there_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n[a](none.md) [b](#a-page) [c](#no) `tests/unit/none.py` `tests/unit`\n"
        "`python -m calibration.none.at_all` `python -m benchmarks.engines` `python -m benchmarks.speed`\n",
        encoding="utf-8",
    )
    assert list(dead_links(page)) == ["none.md", "#no"]
    assert list(missing_paths(page)) == ["tests/unit/none.py"]
    assert list(missing_modules(page)) == ["calibration.none.at_all", "benchmarks.speed"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    pages, seen = [CHECKOUT / "README.md"], set()
    while pages:
        page = pages.pop().resolve()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = LINK.findall(page.read_text(encoding="utf-8"))
        pages += [page.parent / target for target, _ in links if target and "://" not in target]
    assert {page_id(page) for page in PAGES} <= {page_id(page) for page in seen}


def folders() -> set[str]:
    """Folders of the repository that hold files of the project, but for what is made while it runs."""
    made = re.compile(r"/(__pycache__|\.[^/]+|node_modules)(/|$)")
    return {
        str(folder.relative_to(CHECKOUT)) + "/"
        for top in TOP_LEVEL
        for folder in (CHECKOUT / top, *(CHECKOUT / top).rglob("*"))
        if folder.is_dir()
        and not made.search("/" + str(folder.relative_to(CHECKOUT)))
        and any(entry.is_file() and entry.suffix != ".pyc" for entry in folder.rglob("*"))
    }


def drawn_folders() -> set[str]:
    """Folders of the tree on the architecture's page; what is indented lies in what is above it."""
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = re.search(r"## The tree\n\n```\n(.*?)```", text, flags=re.DOTALL)
    assert tree is not None
    found, above = set(), [""]
    for line in tree[1].splitlines():
        name = re.match(r"( *)([\w.]+/)", line)
        if name is None:
            continue
        level = len(name[1]) // 2
        above = [*above[: level + 1], above[level] + name[2]]
        found.add(above[-1])
    return found


def test_the_tree_names_every_folder_and_no_other() -> None:
    assert drawn_folders() - {".ci/"} == folders()


def identifiers(*folders: str) -> set[str]:
    """Every word of the sources in some folders."""
    sources = [path for folder in folders for path in (CHECKOUT / folder).rglob("*.py")]
    return {word for path in sources for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}


def test_identifiers_of_the_glossary_are_those_of_the_code() -> None:
    text = (CHECKOUT / "docs" / "glossary.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", text)) - {"backquotes"}
    assert len(named) > 40
    assert named - identifiers("perfmodel", "calibration") == set()


@pytest.mark.thorough
def test_tables_that_an_addition_is_entered_in_are_there() -> None:
    text = (CHECKOUT / "docs" / "extending.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(_?[A-Z][A-Z_]+)`", text))
    assert len(named) > 8
    assert named - identifiers("perfmodel", "calibration", "benchmarks", "tests") == set()
