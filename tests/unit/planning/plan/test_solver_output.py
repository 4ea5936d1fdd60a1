"""Nothing that a solver prints by itself reaches standard output."""

from __future__ import annotations

import subprocess
import sys

CHATTY = """
import ctypes, os, sys
from perfmodel.planning.plan.solver_output import solver_kept_off_stdout
library = ctypes.CDLL(None)
print("before")
with solver_kept_off_stdout():
    library.printf(b"complaint in the buffer\\n")
    if len(sys.argv) == 1:
        os.write(1, b"complaint\\n")
print("after")
"""


def test_lines_of_a_library_are_kept_off_standard_output_and_ours_are_not() -> None:
    told = subprocess.run([sys.executable, "-c", CHATTY], capture_output=True, text=True, check=True)
    assert told.stdout == "before\nafter\n"


def test_a_closed_standard_output_is_no_obstacle() -> None:
    told = subprocess.run(
        f"{sys.executable} -c '{CHATTY}' closed >&-", shell=True, capture_output=True, text=True, check=False
    )
    assert told.stdout == ""
    assert told.returncode == 0, told.stderr


OVERLAPPING = """
from threading import Barrier, Thread
from perfmodel.planning.plan.solver_output import solver_kept_off_stdout
turn = Barrier(2)

def first():
    with solver_kept_off_stdout():
        turn.wait()  # the second comes in while the first is inside ...
        turn.wait()
    turn.wait()

def second():
    turn.wait()
    with solver_kept_off_stdout():
        turn.wait()
        turn.wait()  # ... and goes after it

both = [Thread(target=first), Thread(target=second)]
for each in both:
    each.start()
for each in both:
    each.join()
print("after")
"""


def test_solvers_side_by_side_give_standard_output_back() -> None:
    told = subprocess.run(
        [sys.executable, "-c", OVERLAPPING], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout == "after\n"
