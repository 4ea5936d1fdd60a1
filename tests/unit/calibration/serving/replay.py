"""The textbook recursion of FIFO workers, to hold what the runtime did against."""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np

from calibration.serving.served import Served
from perfmodel.sim.arrays import FloatArray


def replayed_s(served: Served) -> FloatArray:
    """Ends of requests under exact FIFO, given each one's own measured service time. [s]

    What the runtime adds to it is the cost of hand-over and waking up: a check of the runtime itself.
    """
    finish_s, free = np.empty(len(served.start_s)), [0.0] * served.num_workers
    arrivals = served.requests.arrival_s.tolist()
    for index, (arrival_s, service_s) in enumerate(zip(arrivals, served.service_s.tolist(), strict=True)):
        finish_s[index] = max(arrival_s, heappop(free)) + service_s
        heappush(free, float(finish_s[index]))
    return finish_s
