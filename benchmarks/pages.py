"""How large pages are, how long they take from a saved answer, and how long a change of a control takes.

`python -m benchmarks.pages` asks for a page of every kind that the tests know, by few queries: a page draws
as much of few as of many. `python -m benchmarks.pages ANSWER.json ...` takes answers that `--json` printed.
1 as exit code where a page misses its target. Controls are timed in headless Chromium, where there is one.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from perfmodel.report.saved import saved_html
from tests.contract.browser import CHROMIUM, found
from tests.contract.test_pages import FURTHER, PAGES, Pages

MOST_BYTES, MOST_S, MOST_MS = 5_000_000, 2.0, 50.0
"""Of a page; from the answer to it; from an input to what follows from it."""

REPETITIONS = 3
CHANGES = 20

SCRIPT = f"""
    const fields = [...document.querySelectorAll(".controls input")];
    let most = 0;
    for (let i = 0; i < {CHANGES}; i++) for (const field of fields) {{
      const was = field.value, begin = performance.now();
      field.value = 1.01 * parseFloat(was); field.dispatchEvent(new Event("input"));
      most = Math.max(most, performance.now() - begin);
      field.value = was; field.dispatchEvent(new Event("input"));
    }}
    return [fields.length, most];
"""


def main(paths: list[str]) -> int:
    """Print a line an answer."""
    missed = 0
    print(f"{'answer':24} {'kB':>7} {'s':>6} {'controls':>8} {'slowest change ms':>18}")
    with tempfile.TemporaryDirectory() as folder:
        for path in map(Path, paths) if paths else _every_kind(Path(folder)):
            took_s, html = min((_made(path) for _ in range(REPETITIONS)), key=lambda each: each[0])
            page = Path(folder) / f"{path.stem}.html"
            page.write_text(html, encoding="utf-8")
            size = page.stat().st_size
            fields, slowest_ms = found(page, SCRIPT) if CHROMIUM is not None else (0, 0.0)
            shown = f"{slowest_ms:18.1f}" if fields else f"{'–':>18}"
            print(f"{path.name:24} {size / 1e3:7.0f} {took_s:6.2f} {fields:8d} {shown}")
            missed += size > MOST_BYTES or took_s > MOST_S or slowest_ms > MOST_MS
    return int(missed > 0)


def _every_kind(folder: Path) -> Iterator[Path]:
    """The answer behind each page that is tried in a browser, one after the other."""
    pages = Pages(folder)
    for name in (*PAGES, *FURTHER):
        page, answer = pages[name]
        if answer != page:  # of the suite there is no answer but its own report
            yield answer


def _made(path: Path) -> tuple[float, str]:
    begin_s = time.perf_counter()
    html = saved_html(path)
    return time.perf_counter() - begin_s, html


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
