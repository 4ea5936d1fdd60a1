"""What DeepRecSys's engines do for each request, as constants of its stacks: what the code says, and times.

No loaded figure gave any of these: `loaded` fits what is left.
"""

from __future__ import annotations

from calibration.published.observations import read_rows
from calibration.published.profiles import Costs

CODE = "published: DeepRecSys's code"
STORED_ITEMS = 1024
FEED_CALL_US = 50.0
HAND_OVER_US = 350.0
QUEUE_BLOBS = 8
Sourced = tuple[float | int, str]


def engine_costs(server: str, engines: int, repository: Costs) -> dict[str, Sourced]:
    """Costs of an engine on a server, each with its source.

    Parameters
    ----------
    server : str
        Whose clock counts.
    engines : int
        Processes that serve.
    repository : mapping
        The fit of the repository's stack on Skylake: its single runs convert inputs with the same code.
    """
    clock = {row["name"]: float(row["frequency_ghz"]) for row in read_rows("platforms.csv")}
    ratio = clock["skylake"] / clock[server]
    of = "gpu_speedup_repository.csv: an index of a single run of the same code on Skylake"
    scaled = "" if ratio == 1.0 else f", by the ratio of clocks, {ratio:.2f} (HPCA 2020 Table II)"
    return {
        "engines": (
            engines,
            "assumed: ISCA 2020's static batch is 1000 / 40; 28, one a core, fits loaded figures less well",
        ),
        "stored_batch_items": (STORED_ITEMS, f"{CODE}, max_mini_batch_size: the largest batch of its runs"),
        "stored_index_ns": (repository["input_index_ns"] * ratio, f"fitted: {of}{scaled}"),
        "feed_call_us": (
            FEED_CALL_US,
            "measured: benchmarks/caffe2_feeding.py, medians of 42 to 70 us (AMD EPYC, PyTorch 1.7)",
        ),
        "hand_over_us": (
            HAND_OVER_US,
            "measured: python -m benchmarks.queue_hops, 175 us a hop (median, AMD EPYC), there and back",
        ),
        "input_queue_blobs": (QUEUE_BLOBS, f"{CODE}, capacity of an input queue"),
        "interpreter_lock": (0.0, f"{CODE}: the network releases the lock while it computes"),
    }
