"""A long trace is read as fast as numpy reads a table, and in little more memory than it holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.bench

NUM_QUERIES = 5_000_000
MOST_S, MOST_MB = 3.0, 300.0

READ = """
import resource, sys, time
from pathlib import Path
from perfmodel.loading.traffic_files import read_trace
began_s = time.process_time()
trace = read_trace(Path(sys.argv[1]))
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(len(trace.arrival_s), time.process_time() - began_s, peak_mb)
"""


def test_five_million_lines_take_three_seconds_and_300_mb(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    columns = [np.cumsum(rng.exponential(1e-3, NUM_QUERIES)), rng.integers(1, 1000, NUM_QUERIES)]
    file = tmp_path / "long.csv"
    np.savetxt(file, np.column_stack(columns), "%.6f,%d", header="arrival_s,num_items", comments="")
    run = subprocess.run([sys.executable, "-c", READ, str(file)], capture_output=True, text=True, check=True)
    lines, seconds, peak_mb = map(float, run.stdout.split())
    assert lines == NUM_QUERIES
    assert seconds <= MOST_S
    assert peak_mb <= MOST_MB
