"""Validation rows never reach training, not even as duplicates."""

from __future__ import annotations

import numpy as np
import pytest

from adapt_axolotl.data.split import CarveRequest, carve_validation, without_leaks


@pytest.mark.parametrize("seed", range(5))
def test_no_held_out_row_equals_a_training_row(seed: int) -> None:
    fingerprints = np.random.default_rng(seed).integers(0, 60, 200).astype(np.uint64)
    held_out = carve_validation("a", fingerprints, CarveRequest(examples=10), seed)
    assert held_out.sum() == 10
    assert len(set(fingerprints[held_out])) == 10
    train = fingerprints[~held_out]
    safe = without_leaks(train, fingerprints[held_out])
    assert not set(train[safe]) & set(fingerprints[held_out])
    assert set(train[safe]) == set(fingerprints) - set(fingerprints[held_out])


def test_the_choice_depends_on_the_seed_only() -> None:
    fingerprints = np.arange(100, dtype=np.uint64)
    one, again, other = (
        carve_validation("a", fingerprints, CarveRequest(), seed) for seed in (1, 1, 2)
    )
    assert (one == again).all()
    assert (one != other).any()


def test_how_many_rows_are_held_out() -> None:
    assert CarveRequest().rows(20) == 4
    assert CarveRequest().rows(300) == 30
    assert CarveRequest().rows(10_000) == 64
    assert CarveRequest(fraction=0.25).rows(300) == 75
    assert CarveRequest(examples=7).rows(300) == 7


def test_a_task_too_small_to_split_names_itself_and_the_remedies() -> None:
    fingerprints = np.array([1, 1, 1, 2, 3, 4, 5], dtype=np.uint64)
    with pytest.raises(ValueError, match="task 'small' has 5 distinct rows") as error:
        carve_validation("small", fingerprints, CarveRequest(examples=3), 0)
    assert "test_datasets" in str(error.value)
    assert "adapt.val_examples to at most 2" in str(error.value)


@pytest.mark.parametrize(
    ("rows", "request_", "says", "not_"),
    [
        (1, CarveRequest(), "has 1 distinct row, too few to hold out 2 .*; give it", "at most"),
        (3, CarveRequest(examples=2), "has 3 distinct rows, too few to hold out 2", "at most"),
        (
            4,
            CarveRequest(),
            "too few to hold out 4 .* adapt.val_examples to at most 2, add",
            "share",
        ),
        (9, CarveRequest(fraction=0.8), "val_examples to at most 4 in place of the share", "none"),
    ],
)
def test_a_small_task_is_told_only_what_can_be_done(
    rows: int, request_: CarveRequest, says: str, not_: str
) -> None:
    with pytest.raises(ValueError, match=says) as error:
        carve_validation("x", np.arange(rows), request_, seed=0)
    assert "giving both the same task: name" in str(error.value)
    assert not_ not in str(error.value)
