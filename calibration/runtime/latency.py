"""Latency of a model on this machine: `perfplan dev latency -m din -b 1,64`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from calibration.runtime.programme import Programme, build_programme
from calibration.runtime.settings import apply_settings
from calibration.runtime.timing import call_seconds, fresh_inputs, kernel_seconds, pass_seconds
from perfmodel.planning.prepare import find_model


def main(arguments: Sequence[str] | None = None) -> None:
    """Print medians over passes."""
    parser = argparse.ArgumentParser(prog="perfplan dev latency", description=__doc__)
    parser.add_argument("--model", "-m", required=True, help="a shipped model, or a file")
    parser.add_argument("--batch", "-b", default="1,16,64,256", help="batch sizes, separated by commas")
    parser.add_argument("--repeats", type=int, default=20, help="passes behind each median")
    parser.add_argument("--shrink-tables", action="store_true", help="scale rows down to what fits")
    given = parser.parse_args(arguments)
    print(apply_settings().describe(), file=sys.stderr)
    programme = build_programme(find_model(given.model), shrink_tables=given.shrink_tables)
    for text in given.batch.split(","):
        _print(programme, int(text), given.repeats)


def _print(programme: Programme, batch_size: int, repeats: int) -> None:
    inputs = fresh_inputs(programme, batch_size, np.random.default_rng(0))
    pass_seconds(programme, inputs, 3)
    whole = np.median(pass_seconds(programme, inputs, repeats))
    kernels = np.median(kernel_seconds(programme, call_seconds(programme, inputs, repeats)), axis=0)
    print(f"batch {batch_size}: {1e3 * whole:.4f} ms; the calls sum to {1e3 * kernels.sum():.4f} ms")
    for kernel, seconds in zip(programme.kernels, kernels, strict=True):
        if seconds:
            print(f"  {kernel.operator:14} {kernel.family:13} {kernel.signature:32} {1e6 * seconds:10.1f} us")


if __name__ == "__main__":
    main()
