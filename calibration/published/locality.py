"""On how many rows of a table HPCA 2020's indices fall: Broadwell fitted with some numbers of them.

    perfplan dev locality

No figure says where the indices of the study come from. Three show that they repeat: lookups of RMC1 hardly
slow down with 2 and 4 copies, whose tables alone are twice the L3 (Fig. 9); those of RMC2, which has eight
times as many, take three times as long with 4 copies and then no longer up to 17 (Fig. 10). A set of rows
that a copy uses over and over, in each table alike, is lost at such numbers of copies, and only there; a skew
by popularity loses a little with each. `rows_in_use` of the three model files is the number that serves
both models, each of which says so where a fit has not seen the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from calibration.published.compare import shipped_models
from calibration.published.figures import COPIES_FILE, HPCA, Models, Point, all_points
from calibration.published.fitted import device_of, rms_log_error
from calibration.published.stacks import MOST_MEASURED, fit_server
from perfmodel.domain.model import RecModel
from perfmodel.domain.operators import EmbeddingBag

TRIED = (4_000, 8_000, 16_000, None)
"""Rows in use of each table; None: all of them."""
REPEATING = ("hpca-rmc1", "hpca-rmc2", "hpca-rmc3")
LEFT_OUT = (None, "hpca-rmc1", "hpca-rmc2")
COPIES_OF = {"hpca-rmc1": "colocation_hpca2020_fig9.csv", "hpca-rmc2": COPIES_FILE}


def with_rows_in_use(models: Models, rows: int | None) -> Mapping[str, RecModel]:
    """The models, those of HPCA 2020 with so many rows of each table in use."""
    return {**models, **{name: _used(models[name], rows) for name in REPEATING}}


def _used(model: RecModel, rows: int | None) -> RecModel:
    operators = [
        operator.model_copy(
            update={
                "tables": tuple(
                    table.model_copy(
                        update={"rows_in_use": rows if rows is None else min(rows, table.num_rows)}
                    )
                    for table in operator.tables
                )
            }
        )
        if isinstance(operator, EmbeddingBag)
        else operator
        for operator in model.operators
    ]
    return model.model_copy(update={"operators": tuple(operators)})


def locality_table() -> Iterator[str]:
    """Errors of Broadwell's figures by the rows in use, seen and not seen. Markdown."""
    yield "| rows in use | not seen | line from memory [ns] | all, rms | RMC1, Fig. 9 | RMC2, Fig. 10 |"
    yield "|---|---|---|---|---|---|"
    for rows in TRIED:
        models = with_rows_in_use(shipped_models(), rows)
        for without in LEFT_OUT:
            fitted = fit_server(MOST_MEASURED, models, without)
            devices = dict([device_of(MOST_MEASURED, HPCA, fitted.costs)])
            points = [point for point in all_points(fitted.figures, models, devices) if point.headline]
            cells = [_copies(points, model) for model in COPIES_OF]
            yield (
                f"| {'all' if rows is None else f'{rows:,}'} | {without or '-'} "
                f"| {fitted.costs['lookup_memory_line_ns']:.1f} | {100 * rms_log_error(points):.0f} % "
                f"| {' | '.join(cells)} |"
            )


def _copies(points: list[Point], model: str) -> str:
    errors = [point.error for point in points if (point.figure, point.model) == (COPIES_OF[model], model)]
    return f"{100 * fmean(map(abs, errors)):.0f} %, worst {100 * max(errors, key=abs):+.0f} %"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    argparse.ArgumentParser(prog="perfplan dev locality", description=__doc__).parse_args(arguments)
    for line in locality_table():
        print(line, flush=True)


if __name__ == "__main__":
    main()
