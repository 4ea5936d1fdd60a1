"""Random models for checking: reproducible, valid, and of sizes that fit."""

from __future__ import annotations

from calibration.measure.unseen import unseen_models


def test_a_seed_names_its_models() -> None:
    assert unseen_models(3, 7) == unseen_models(3, 7)
    assert unseen_models(3, 7) != unseen_models(3, 8)


def test_more_models_begin_with_the_same_ones() -> None:
    assert unseen_models(5, 7)[:2] == unseen_models(2, 7)


def test_thirty_models_are_valid_and_fit_into_four_gigabytes() -> None:
    models = unseen_models(30, 1)
    assert len({model.lookups_per_item for model in models}) > 20
    assert all(model.embedding_bytes + model.dense_parameter_bytes < 4e9 for model in models)
