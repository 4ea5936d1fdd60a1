"""Pages in a headless browser: what a script finds in them, without a library that drives it."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_AXE = find_spec("axe_core_python")
_OWN = "" if _AXE is None or _AXE.origin is None else str(Path(_AXE.origin).with_name("axe.min.js"))
AXE = Path(os.environ.get("AXE_CORE", _OWN))
"""The accessibility checker axe-core: that of the package `axe-core-python`, or AXE_CORE=another's file."""

_ERRORS = (
    '<script>window.ERRORS = [];window.addEventListener("error", (e) => ERRORS.push(e.message));</script>'
)


def found(page: Path, script: str, *, width: int = 1280, dark: bool = False, axe: bool = False) -> Any:
    """Open a page, run the body of an async function in it, and return what that returns.

    The page stands in a frame of that width: a headless window is never narrower than 500 pixels, whatever
    it is asked for, and a page is as wide as its frame.
    """
    assert CHROMIUM is not None, "asked for by tests that are skipped without a browser"
    text = page.read_text(encoding="utf-8").replace("<head>", f"<head>{_ERRORS}", 1)
    checker = f"<script>{AXE.read_text(encoding='utf-8')}</script>" if axe else ""
    ask = (
        f"{checker}<script>window.addEventListener('load', async () => {{"
        f"let r; try {{ r = await (async () => {{ {script} }})(); }}"
        "catch (e) { r = {failed: String(e)}; }"
        "if (innerWidth !== WIDE) r = {failed: 'the page is ' + innerWidth + ' pixels wide'};"
        "const p = parent.document.createElement('pre'); p.id = 'found';"
        "p.textContent = JSON.stringify(r ?? null);"
        "parent.document.body.appendChild(p); });</script></body>"
    ).replace("WIDE", str(width))
    framed = json.dumps(text.replace("</body>", ask, 1)).replace("<", "\\u003c")
    asked = page.with_name(f"asked-{width}-{dark}-{page.name}")
    asked.write_text(
        '<!DOCTYPE html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        "<title>frame</title>"
        f'<body style="margin:0"><iframe style="border:0;width:{width}px;height:900px"></iframe>'
        f"<script>document.querySelector('iframe').srcdoc = {framed};</script></body>",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            *[CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            *[
                f"--window-size={max(width, 500)},900",
                "--virtual-time-budget=15000",
                "--dump-dom",
                asked.as_uri(),
            ],
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert match is not None, done.stderr[-500:]
    return json.loads(html.unescape(match[1]))
