"""Programs with children, for a test to kill: each says a word on stdout when it is about to start them."""

from __future__ import annotations

import sys
from multiprocessing import get_context
from time import sleep

import numpy as np

from calibration.children import child, in_fresh_process, start
from calibration.serving.inputs import draw_inputs
from calibration.serving.requests import requests_of
from calibration.serving.server import Workers, serve
from perfmodel.sim.policies import SplitAndOffload
from perfmodel.sim.traffic import Queries
from tests.unit.calibration.serving.stubs import Spinner


def spin() -> None:
    while True:
        pass


def forks() -> None:
    """As the neighbours of a calibration."""
    while True:
        started = child(get_context("fork"), spin, ())
        start(started)
        sleep(0.01)
        started.kill()


def spawns() -> None:
    """As a fit in a process of its own."""
    in_fresh_process(spin)


def serves() -> None:
    """As a validation, which warms its workers up."""
    requests = requests_of(Queries(np.full(3, 60.0), np.full(3, 5)), SplitAndOffload(batch_size=10))
    spinner = Spinner(fixed_s=0.2)
    pool = draw_inputs(spinner, requests.num_items, np.random.default_rng(0), bytes_per_item=0.0)
    serve(Workers(servable=spinner, num_workers=1), requests, pool)


if __name__ == "__main__":
    print("starting", flush=True)
    {"forks": forks, "spawns": spawns, "serves": serves}[sys.argv[1]]()
