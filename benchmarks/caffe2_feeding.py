"""What Caffe2 takes to convert stored inputs and feed them: constants of DeepRecSys's stacks.

    python3.8 benchmarks/caffe2_feeding.py     # with torch 1.7.1, numpy 1.19, protobuf 3, future

As its engines do it. Caffe2 left PyTorch years ago, so that this needs an old Python and stands alone.
Processor time of one thread: for each tensor a copy into the workspace and a net of one operator, which puts
it into a queue; and `numpy.array` of nested lists, an index and a length for each lookup of 1024 items.
"""

from __future__ import annotations

import time

import numpy as np
from caffe2.python import core, workspace

TENSORS, ROUNDS, ITEMS = 20, 40, 1024
REQUEST_ITEMS = (25, 256, 1024)
MODELS = {"dlrm-rmc1": (8, 80), "dlrm-rmc3": (10, 20), "wnd": (27, 1), "mt-wnd, dien": (43, 1), "ncf": (4, 1)}
"""Tables, and lookups of each."""


def feeding_us(items: int) -> np.ndarray:
    """Tenth, half and nine tenths of what a tensor takes. [us]"""
    tensor = np.zeros(items, np.int64)
    inputs = [_queued(f"of_{items}_{number}") for number in range(TENSORS)]
    taken = []
    for _ in range(ROUNDS):
        for blob, put, take in inputs:
            begin = time.thread_time()
            workspace.FeedBlob(blob, tensor)
            workspace.RunNetOnce(put.Proto())
            taken.append(time.thread_time() - begin)
            workspace.RunNetOnce(take.Proto())
    return 1e6 * np.percentile(taken, [10, 50, 90])


def _queued(name: str) -> tuple:
    """A blob, and the nets that put it into a queue of eight and take it out again."""
    made = core.Net(name + "_queue")
    queue = made.CreateBlobsQueue([], name + "_blobs", num_blobs=1, capacity=8)
    workspace.RunNetOnce(made)
    blob = name + "_input"
    put, take = core.Net(name + "_put"), core.Net(name + "_take")
    put.EnqueueBlobs([queue, blob], [blob])
    take.DequeueBlobs([queue], name + "_output")
    return blob, put, take


def conversion_ns(tables: int, lookups: int) -> tuple:
    """Medians of what a stored length and a stored index take. [ns]"""
    lengths = [[np.int32(lookups) for _ in range(ITEMS)] for _ in range(tables)]
    indices = [np.random.randint(0, 1_000_000, ITEMS * lookups).tolist() for _ in range(tables)]
    of_lengths, of_indices = [], []
    for _ in range(ROUNDS):
        begin = time.thread_time()
        np.array(lengths)
        between = time.thread_time()
        np.array(indices)
        of_lengths.append(between - begin)
        of_indices.append(time.thread_time() - between)
    count = tables * ITEMS
    return 1e9 * np.median(of_lengths) / count, 1e9 * np.median(of_indices) / (count * lookups)


if __name__ == "__main__":
    print("feeding a tensor: a tenth, half and nine tenths take at most [us]")
    for items in REQUEST_ITEMS:
        print(f"  {items:5} items ", " ".join(f"{each:6.1f}" for each in feeding_us(items)))
    print("stored lists of 1024 items [ns]")
    for model, (tables, lookups) in MODELS.items():
        of_length, of_index = conversion_ns(tables, lookups)
        print(f"  {model:14} a length {of_length:4.0f}, an index {of_index:4.0f}")
