"""At which rate Caffe2 copies and rectifies, by the size of what it moves.

    python3.8 benchmarks/caffe2_copies.py     # with torch 1.7.1, numpy 1.19, protobuf 3, future

Of DeepRecSys's DIEN: its Sum of one input is a copy. Beside it, in the same run, a ReLU, a Concat of two long
inputs and a Sum of two. Processor time of one thread, the least of many repeats, less that of 64 bytes; the
same blobs again and again, so that what fits a cache is found there. Stands alone: see `caffe2_feeding`.
"""

from __future__ import annotations

import time

import numpy as np
from caffe2.python import core, workspace

KIB, REPEATS, MOVED_A_REPEAT = 1024, 40, 2e7
SIZES_KIB = tuple(4**power * 64 for power in range(6))
"""Of each operand. [KiB]"""
CALLS = {
    "Sum of one": (("Sum", ["x"], ["z"]), 2),
    "ReLU": (("Relu", ["x"], ["z"]), 2),
    "Concat": (("Concat", ["x", "y"], ["z", "lengths"]), 4),
    "Sum of two": (("Sum", ["x", "y"], ["z"]), 3),
}
"""Operator, inputs and outputs; and operands that it moves, read or written."""


def least_s(call: str, size: int) -> float:
    """What a call on operands of so many bytes takes. [s]"""
    (kind, inputs, outputs), operands = CALLS[call]
    workspace.ResetWorkspace()
    for blob in inputs:
        workspace.FeedBlob(blob, np.random.rand(size // 4).astype(np.float32))
    net = core.Net(f"{kind}_{len(inputs)}_{size}")
    net.Proto().type = "simple"
    settings = {"axis": 0} if kind == "Concat" else {}
    getattr(net, kind)(inputs, outputs, **settings)
    workspace.CreateNet(net)
    rounds = int(min(2000, max(1, MOVED_A_REPEAT / (operands * size))))
    taken = []
    for _ in range(REPEATS):
        begin = time.thread_time()
        workspace.RunNet(net, rounds)
        taken.append((time.thread_time() - begin) / rounds)
    return min(taken)


if __name__ == "__main__":
    workspace.GlobalInit(["caffe2", "--caffe2_omp_num_threads=1", "--caffe2_log_level=2"])
    alone = {call: least_s(call, 64) for call in CALLS}
    print("read and written [GB/s]; an operand has", *(f"{call:>11}" for call in CALLS))
    for kib in SIZES_KIB:
        rates = [
            operands * kib * KIB / (least_s(call, kib * KIB) - alone[call]) / 1e9
            for call, (_, operands) in CALLS.items()
        ]
        print(f"  {kib:31} KiB  ", *(f"{rate:11.1f}" for rate in rates))
