"""Fit the shipped profiles to the published figures, print every residual, and write the profiles.

`stacks` has the stages. What a loaded node shows, how busy engines slow each other down, is `loaded`'s; how
far off all of it is where a fit did not see a model, `left_out`'s. `--quick` leaves both out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from calibration.published.compare import comparison_table, shipped_models
from calibration.published.engines import engine_costs
from calibration.published.figures import FIGURES, ISCA, REPOSITORY, Models, all_points
from calibration.published.fitted import Fitted, LoadedLevel, device_of, profiles_from
from calibration.published.left_out import (
    asked_table,
    left_out_table,
    points_of_models_left_out,
    write_left_out,
)
from calibration.published.loaded import (
    BATCH_FIGURE,
    ENGINES,
    SLA_FIGURE,
    LoadedFit,
    fit_loaded,
    loaded_table,
)
from calibration.published.profiles import write_profiles
from calibration.published.stacks import fit_all
from perfmodel.loading.shipped import shipped_directory

SLOWDOWN_SOURCE = f"fitted: {SLA_FIGURE} above 60 ms and {BATCH_FIGURE}, {ENGINES[0]} engines"
SAME_SLOWDOWN = "assumed: as fitted on Broadwell; no loaded figure is published for this server"
SPREAD_SOURCE = (
    "fitted: root mean square (logarithm) of service times behind rates whose model and figure were left "
    "out of that fit"
)
SKYLAKE_CORES = 40


def _loaded_fits(fitted: Sequence[Fitted], models: Models) -> list[LoadedFit]:
    """The slow-downs of Broadwell's engines under ISCA 2020's stack, for each number of engines."""
    by_stack = {(entry.device, entry.stack): entry.costs for entry in fitted}
    engine = engine_costs("broadwell", ENGINES[0], by_stack["skylake", REPOSITORY])
    plain = {key: value for key, (value, _) in engine.items()}
    _, cpu = device_of("broadwell", ISCA, {**by_stack["broadwell", ISCA], **plain})
    return [fit_loaded(cpu, models, engines) for engines in ENGINES]


def _loaded_level(fitted: Sequence[Fitted], found: LoadedFit) -> LoadedLevel:
    """What only a loaded node does and shows: the repository's stack takes the slow-downs over."""
    repository = next(
        entry.costs for entry in fitted if (entry.device, entry.stack) == ("skylake", REPOSITORY)
    )
    level = {}
    for device, stack, engines, source in (
        ("broadwell", ISCA, ENGINES[0], SLOWDOWN_SOURCE),
        ("skylake", REPOSITORY, SKYLAKE_CORES, SAME_SLOWDOWN),
    ):
        conversion, network = found.slowdowns
        level[device, stack] = {
            **engine_costs(device, engines, repository),
            "conversion_slowdown": (conversion, source),
            "network_slowdown": (network, source),
            "network_slowdown_spread": (found.spread, SPREAD_SOURCE),
        }
    return level


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, with every model and without each in turn, and print the comparison; --write replaces profiles."""
    parser = argparse.ArgumentParser(prog="perfplan dev fit", description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help="replace hardware_profiles/*.yaml, and what is kept of it"
    )
    parser.add_argument("--quick", action="store_true", help="fit single models alone, and write nothing")
    given = parser.parse_args(arguments)
    models = shipped_models()
    fitted = fit_all(models)
    if given.quick:
        devices = dict(device_of(entry.device, entry.stack, entry.costs) for entry in fitted)
        print(comparison_table(all_points(list(FIGURES), models, devices)))
        return
    unseen = points_of_models_left_out(fitted, models)
    loaded = _loaded_fits(fitted, models)
    profiles = profiles_from(fitted, models, _loaded_level(fitted, loaded[0]), unseen)
    devices = {
        (profile.name, stack): profile.device(stack) for profile in profiles for stack in profile.stacks
    }
    print(comparison_table(all_points(list(FIGURES), models, devices)))
    print(*left_out_table(fitted, unseen), "", *asked_table(unseen), "", *loaded_table(loaded), sep="\n")
    if given.write:
        write_profiles(profiles, shipped_directory("profile"))
        write_left_out(fitted, unseen)


if __name__ == "__main__":
    main()
