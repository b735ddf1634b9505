"""Shares of a batch, and what their gradients add up to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import gradients


@given(st.integers(1, 8), st.integers(1, 20), st.integers(0, 5))
def test_the_average_of_even_shares_is_the_gradient_of_the_whole_batch(instances: int, each: int, seed: int) -> None:
    step = gradients.step(instances * each, instances, seed)
    assert step.photos == [each] * instances
    np.testing.assert_allclose(step.averaged, step.whole, atol=1e-12)


@given(st.integers(1, 8), st.integers(8, 60), st.integers(0, 5))
def test_weighted_by_photos_it_is_so_for_any_shares(instances: int, photos: int, seed: int) -> None:
    step = gradients.step(photos, instances, seed)
    assert sum(step.photos) == photos
    np.testing.assert_allclose(step.weighted, step.whole, atol=1e-12)


def test_uneven_shares_need_their_weights() -> None:
    step = gradients.step(64, 3)
    assert step.photos == [22, 21, 21]
    assert abs(step.averaged - step.whole).max() > 1e-3


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    random = np.random.default_rng(1)
    inputs, labels, weights = random.normal(size=(9, 4)), random.integers(2, size=9), random.normal(size=4)

    def loss(at: np.ndarray) -> float:
        scores = inputs @ at
        return float(np.mean(np.log1p(np.exp(scores)) - labels * scores))

    slopes = [(loss(weights + 1e-6 * one) - loss(weights - 1e-6 * one)) / 2e-6 for one in np.eye(4)]
    np.testing.assert_allclose(gradients._gradient(inputs, labels, weights), slopes, atol=1e-6)


@pytest.mark.parametrize("instances", [1, 2, 3])
def test_a_row_for_each_instance_and_one_for_average_and_whole(instances: int) -> None:
    rows = gradients.step(64, instances).rows()
    assert [row["gradient of"] for row in rows[-2:]] == ["their average", "one instance"]
    assert len(rows) == instances + 2
    assert {row["photos"] for row in rows[-2:]} == {64}
