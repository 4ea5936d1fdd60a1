"""Fit the shipped profiles to the published figures, print every residual, and write the profiles.

`stacks` has the stages. The loaded level of RMC3, which says how busy cores slow each other down and how a
card overlaps requests, is `node_level`'s; how far off all of it is, `left_out`'s: that takes four to six
times as long as the fit.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from calibration.published.compare import comparison_table, shipped_models
from calibration.published.figures import FIGURES, ISCA, REPOSITORY, Models, all_points
from calibration.published.fitted import Fitted, LoadedLevel, device_of, profiles_from
from calibration.published.left_out import points_of_models_left_out, write_left_out
from calibration.published.node_level import (
    OVERLAP_SOURCE,
    SAME_OVERLAP,
    SAME_SLOWDOWN,
    SLOWDOWN_SOURCE,
    input_overlap,
    node_slowdown,
    slowed,
)
from calibration.published.profiles import write_profiles
from calibration.published.stacks import fit_all
from perfmodel.loading.shipped import shipped_directory


def _loaded_level(fitted: Sequence[Fitted], models: Models) -> LoadedLevel:
    """Fit what only a loaded node shows, under ISCA 2020's stack; the repository's takes it over."""
    rmc3 = models["dlrm-rmc3"]
    alone = dict(device_of(entry.device, entry.stack, entry.costs) for entry in fitted)
    broadwell, card = alone["broadwell", ISCA], alone["gtx1080ti", ISCA]
    factor = node_slowdown(broadwell, rmc3)
    overlap = input_overlap(slowed(broadwell, factor), card, rmc3)
    return {
        ("broadwell", ISCA): {"node_slowdown": (factor, SLOWDOWN_SOURCE)},
        ("skylake", REPOSITORY): {"node_slowdown": (factor, SAME_SLOWDOWN)},
        ("gtx1080ti", ISCA): {"input_overlap": (overlap, OVERLAP_SOURCE)},
        ("gtx1080ti", REPOSITORY): {"input_overlap": (overlap, SAME_OVERLAP)},
    }


def main() -> None:
    """Fit, with every model and without each in turn, and print the comparison; --write replaces profiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help="replace hardware_profiles/*.yaml, and what is kept of it"
    )
    arguments = parser.parse_args()
    models = shipped_models()
    fitted = fit_all(models)
    unseen = points_of_models_left_out(fitted, models)
    profiles = profiles_from(fitted, models, _loaded_level(fitted, models), unseen)
    devices = {
        (profile.name, stack): profile.device(stack) for profile in profiles for stack in profile.stacks
    }
    print(comparison_table(all_points(list(FIGURES), models, devices)))
    if arguments.write:
        write_profiles(profiles, shipped_directory("profile"))
        write_left_out(fitted, unseen)


if __name__ == "__main__":
    main()
