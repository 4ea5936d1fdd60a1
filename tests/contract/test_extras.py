"""What not everybody needs is an extra: whoever lacks it is told which in one line."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

import perfmodel
from perfmodel.cli.main import main
from perfmodel.errors import InputError
from perfmodel.report.frames import data_frame
from tests.contract.test_lock import EXTRAS

SWEEP = ("sweep", "rm3_skylake", "--over", "policy.batch_size=64,128")


@pytest.mark.parametrize(
    ("package", "extra", "options"),
    [
        ("matplotlib", "plot", ("--plot", "drawn.svg")),
        ("joblib", "jobs", ("--jobs", "2")),
        ("distributed", "dask", ("--backend", "dask", "--address", "tcp://127.0.0.1:1")),
        ("pyarrow", "parquet", ("--out", "rows.parquet")),
    ],
)
def test_a_sweep_that_lacks_an_extra_says_which(
    package: str,
    extra: str,
    options: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    assert main([*SWEEP, *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert f"needs {package}: pip install 'perfplan[{extra}]'" in printed.err
    assert any(requirement.startswith(package) for requirement in EXTRAS[extra])
    assert list(tmp_path.iterdir()) == []


def test_tables_say_that_they_need_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"needs pandas: pip install 'perfplan\[pandas\]'"):
        data_frame([], "queries")


def test_extras_are_no_dependencies() -> None:
    project = tomllib.loads((Path(perfmodel.__file__).parent.parent / "pyproject.toml").read_text("utf-8"))
    needed = {requirement.partition(">")[0] for requirement in project["project"]["dependencies"]}
    optional = {"jobs": "joblib", "plot": "matplotlib", "pandas": "pandas", "parquet": "pyarrow"}
    assert needed.isdisjoint(optional.values())
    assert set(optional) <= EXTRAS.keys()
