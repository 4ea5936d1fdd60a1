"""Files that are no YAML of perfplan's own, as their makers write them, and the command that reads each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from perfmodel.loading.shipped import shipped_directory

QUICK = "simulation={seed: 1, precision: 0.1, min_queries: 1000, max_queries: 20000}"
_QUICK = ("--set", QUICK)
_RECORDINGS = Path(__file__).resolve().parents[2] / "tests/unit/loading/recordings/files"
_MOST_WORDS = 30
"""Of a file, the first of which are replaced: a table's later rows are read by the same code."""
_WORD = re.compile(r"""[^\s,:;={}\[\]<>"'|]+""")
_PROFILE = "amd-epyc-turin-2c"
_CALL = "fc"
"""The block of a table of surfaces in which cells are replaced: every model has this call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """One kind of file.

    Attributes
    ----------
    name : str
        Of the file.
    text : str
        As it should be.
    arguments : tuple of str
        What reads it.
    beside : callable
        Given the file's bytes, other files by name that the command needs.
    start : int
        Where in the text words are replaced from.
    """

    name: str
    text: str
    arguments: tuple[str, ...]
    beside: Callable[[bytes], Mapping[str, str]] = lambda _: {}
    start: int = 0

    def words(self) -> Iterator[tuple[int, int]]:
        """Where the words stand that are replaced, from and to; the last one is among them."""
        found = [match.span() for match in _WORD.finditer(self.text, self.start)]
        yield from found[:_MOST_WORDS]
        if len(found) > _MOST_WORDS:
            yield found[-1]

    def replaced(self, start: int, end: int, word: str) -> bytes:
        """The file with another word in a word's place; surrogates are bytes that are no UTF-8."""
        return (self.text[:start] + word + self.text[end:]).encode("utf-8", "surrogateescape")

    def place(self, offset: int) -> str:
        """A word's line and column, for people."""
        line = self.text.count("\n", 0, offset) + 1
        return f"{line}:{offset - self.text.rfind(chr(10), 0, offset)}"


_TRITON = """\
name: "ranker"
platform: 'onnxruntime_onnx'
max_batch_size : 512
input [ { name: "dense" data_type: TYPE_FP32 dims: [ 13 ] } ]
instance_group [
  { count: 2, kind: KIND_CPU },
  { count: 2, kind: KIND_GPU, gpus: [ 0, 1 ] }
]
dynamic_batching {
  preferred_batch_size: [ 64, 256 ]
  max_queue_delay_microseconds: 1500
}
"""
_TORCHSERVE = "minWorkers: 2\nmaxWorkers: 4\nbatchSize: 8\nmaxBatchDelay: 50\ndeviceType: cpu\n"
_CONF = """\
# of a submission
dlrm-v2.Server.target_qps = 500
dlrm-v2.Server.target_latency = 60
dlrm-v2.Server.target_latency_percentile = 99
dlrm-v2.Server.min_duration = 60000
dlrm-v2.Server.min_query_count = 1000
*.Offline.target_qps = 0x100
"""
_LSCPU = json.dumps(
    {
        "lscpu": [
            {"field": "Model name:", "data": "Some Xeon"},
            {"field": "Socket(s):", "data": "2", "children": [{"field": "Stepping:", "data": "1"}]},
            {"field": "Core(s) per socket:", "data": "56"},
            {"field": "L2 cache:", "data": "224 MiB (112 instances)"},
            {"field": "L3 cache:", "data": "210 MiB (2 instances)"},
        ]
    },
    indent=1,
)
_SMI = """<?xml version="1.0" ?>
<nvidia_smi_log><gpu id="0"><product_name>NVIDIA A10G</product_name>
<fb_memory_usage><total>23028 MiB</total></fb_memory_usage>
<gpu_power_readings><current_power_limit>300.00 W</current_power_limit></gpu_power_readings>
</gpu></nvidia_smi_log>
"""
FACTORY = """\
import torch


def make():
    return torch.nn.Linear(8, 1)
"""
_BY_TABLE = f"""\
node: {{service_times: table.csv, executors: 8, tdp_w: 100}}
traffic:
  arrivals: {{process: poisson, rate_qps: 100}}
  query_sizes: {{distribution: fixed, num_items: 100}}
policy: {{name: split, batch_size: 64}}
sla: {{percentile: 0.95, latency_ms: 50}}
{QUICK.replace("simulation=", "simulation: ")}
"""


@cache
def text_files() -> tuple[TextFile, ...]:
    """Every kind of file, and each format of recordings."""
    surfaces, in_fc = _surfaces()
    return (
        *map(_by_table, ("", "busy", "std_ms", "p50_ms,p99_ms")),
        TextFile(
            name="times.txt",
            text="# ms\n" + "".join(f"{1 + index / 10}\n" for index in range(20)),
            arguments=(
                *("predict", "-s", "ncf_skylake", *_QUICK),
                *("--set", "sla.outside_ms={distribution: file, file: times.txt}"),
            ),
        ),
        TextFile(
            name="surfaces.csv",
            text=surfaces,
            start=in_fc,
            arguments=("latency", "--json", "--extrapolate", "-m", "ncf", "-b", "1,64", "--on", "mine.yaml"),
            beside=_profile_of,
        ),
        TextFile(
            name="config.pbtxt", text=_TRITON, arguments=("init", "here", "--from-triton", "config.pbtxt")
        ),
        TextFile(
            name="model-config.yaml",
            text=_TORCHSERVE,
            arguments=("init", "here", "--from-torchserve", "model-config.yaml", "--items-per-request", "4"),
        ),
        TextFile(
            name="described.json",
            text=json.dumps([{"batchSize": 8, "maxBatchDelay": 50, "minWorkers": 2, "deviceType": "gpu"}]),
            arguments=("init", "here", "--from-torchserve", "described.json", "--items-per-request", "4"),
        ),
        TextFile(
            name="user.conf",
            text=_CONF,
            arguments=("mlperf", "mlperf_dlrm_v2_skylake", "--json", "--conf", "user.conf", *_QUICK),
        ),
        TextFile(
            name="lscpu.json",
            text=_LSCPU,
            arguments=("profile", "new", "--base", "skylake", "--from-lscpu", "lscpu.json", "-o", "my.yaml"),
        ),
        TextFile(
            name="smi.xml",
            text=_SMI,
            arguments=("profile", "new", "-b", "h100-80gb", "--from-nvidia-smi", "smi.xml", "-o", "my.yaml"),
        ),
        TextFile(
            name="log.csv",
            text=log(),
            arguments=("observe", "log.csv", "--json", "--sort", "--sla-ms", "50", "--out", "observed"),
        ),
        *_recordings(),
    )


def log() -> str:
    """What a node of two executors served: a query every 10 ms, of 5 ms and something for each item."""
    lines = ["arrival_s,num_items,start_s,end_s,executor,query"]
    free_s = [0.0, 0.0]
    for index in range(3000):
        arrival_s, items = index * 0.01 + 0.007 * (index % 3), 1 + 37 * index % 300
        executor = free_s.index(min(free_s))
        start_s = max(arrival_s, free_s[executor])
        free_s[executor] = start_s + 0.005 + 2e-5 * items
        lines.append(f"{arrival_s:.6f},{items},{start_s:.6f},{free_s[executor]:.6f},{executor},{index}")
    return "\n".join(lines) + "\n"


def _recordings() -> Iterator[TextFile]:
    for path in sorted(_RECORDINGS.iterdir()):
        if path.suffix != ".md":
            yield TextFile(
                name=path.name,
                text="".join(path.read_text().splitlines(keepends=True)[:200]),
                arguments=("trace", "show", path.name, "--json"),
            )


def _by_table(more: str) -> TextFile:
    """A table of service times with further columns, and a scenario of it."""
    of_row = {"": "", "busy": ",{busy}", "std_ms": ",0.01", "p50_ms,p99_ms": ",{ms},{worse}"}[more]
    rows = [
        f"{items},{items / 100}" + of_row.format(busy=busy, ms=items / 100, worse=items / 50)
        for busy in ((1, 8) if more == "busy" else (1,))
        for items in (1, 16, 256, 1000)
    ]
    name = f"{more.partition(',')[0] or 'table'}.csv"
    return TextFile(
        name=name,
        text="\n".join([",".join(filter(None, ("items,service_ms", more))), *rows, ""]),
        arguments=("predict", "--json", "--extrapolate", "-s", "by_table.yaml"),
        beside=lambda _: {"by_table.yaml": _BY_TABLE.replace("table.csv", name)},
    )


def _surfaces() -> tuple[str, int]:
    """The table of a shipped profile, and where in it the block begins whose words are replaced."""
    path = next(shipped_directory("profile").glob(f"{_PROFILE}.surfaces-*.csv"))
    text = path.read_text()
    return text, text.index(f"call,{_CALL}")


def _profile_of(table: bytes) -> Mapping[str, str]:
    """The shipped profile with a table of this content: that it was edited is another refusal."""
    text = (shipped_directory("profile") / f"{_PROFILE}.yaml").read_text()
    text = re.sub(r"file: \S+\.csv", "file: surfaces.csv", text)
    return {"mine.yaml": re.sub(r"sha256: \w+", f"sha256: {sha256(table).hexdigest()}", text)}
