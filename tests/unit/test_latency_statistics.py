"""On synthetic times; no clock is looked at."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from segexport.measure.latency_statistics import Drift, LatencyRatio, is_warm, latency_ratio, percentiles, trend


def interleaved(
    seed: int, kind: str, *, ratio: float = 1.0, blocks: int = 12, runs: int = 10
) -> tuple[np.ndarray, ...]:
    """Times of two programs that ran A B B A in each block on one machine with one kind of trouble."""
    rng = np.random.default_rng(seed)
    count = 2 * blocks * runs
    times = 10 * rng.lognormal(0, 0.03, count)
    if kind == "drift":
        times *= np.linspace(1, 1.15, count)
    if kind == "spikes":
        times *= np.where(rng.random(count) < 0.05, rng.uniform(1.5, 5, count), 1)
    if kind == "walk":
        times *= np.exp(np.cumsum(rng.normal(0, 0.003, count)))
    rows = times.reshape(blocks, 2 * runs)
    half = runs // 2
    return rows[:, half : half + runs] * ratio, np.concatenate([rows[:, :half], rows[:, half + runs :]], axis=1)


@pytest.mark.parametrize("kind", ["steady", "spikes", "drift", "walk"])
@pytest.mark.parametrize("ratio", [1.0, 0.7])
def test_the_interval_holds_the_true_ratio(kind: str, ratio: float) -> None:
    repeats = 300
    held, width = 0, 0.0
    for seed in range(repeats):
        low, high = latency_ratio(*interleaved(seed, kind, ratio=ratio), resamples=400).interval
        held += low <= ratio <= high
        width += (high - low) / repeats
    assert held / repeats > 0.92  # 95 % nominal, three standard errors of 300 repeats are 3.8 %; drift errs wide
    assert width < 0.06 * ratio


def test_without_interleaving_drift_would_mislead() -> None:
    """The test above can fail: the same times read as A A ... B B ... miss 1."""
    export, baseline = interleaved(0, "drift")
    ordered = np.sort(np.concatenate([export, baseline]).ravel()).reshape(2, *export.shape)
    low, _ = latency_ratio(ordered[1], ordered[0]).interval
    assert low > 1.01


def test_ratio_by_hand() -> None:
    found = latency_ratio(np.full((6, 4), 3.0), np.full((6, 2), 4.0))
    assert (found.value, found.interval, found.blocks) == (0.75, (0.75, 0.75), 6)
    assert found.drift() is None
    assert found == latency_ratio(np.full((6, 4), 3.0), np.full((6, 2), 4.0))


def test_few_blocks_give_no_interval() -> None:
    found = latency_ratio(np.full((4, 9), 3.0), np.full((4, 9), 4.0))
    assert (found.value, found.interval) == (0.75, None)


@pytest.mark.parametrize(
    ("export", "baseline", "message"),
    [
        (np.ones((5, 2)), np.ones((6, 2)), "equal blocks"),
        (np.ones(5), np.ones(5), "equal blocks"),
        (np.ones((0, 2)), np.ones((0, 2)), "no latency samples"),
        (np.zeros((5, 2)), np.ones((5, 2)), "finite and positive"),
        (np.full((5, 2), np.nan), np.ones((5, 2)), "finite and positive"),
    ],
)
def test_unusable_samples(export: np.ndarray, baseline: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        latency_ratio(export, baseline)


def test_trend_equals_scipy() -> None:
    medians = np.random.default_rng(0).normal(10, 0.5, 15) + np.arange(15) * 0.1
    found = trend(medians)
    slope = stats.theilslopes(medians).slope
    assert found.change == pytest.approx(slope * 14 / np.median(medians))
    assert found.p_value == pytest.approx(
        stats.kendalltau(np.arange(15), medians, method="asymptotic").pvalue, rel=0.35
    )


def test_mann_kendall_by_hand() -> None:
    """Four rising values: S = 6, variance 26/3, z = 5/sqrt(26/3); one tie changes the variance by 1."""
    assert trend(np.array([1.0, 2, 3, 4])).p_value == pytest.approx(2 * stats.norm.sf(5 / np.sqrt(26 / 3)))
    assert trend(np.array([1.0, 2, 2, 4])).p_value == pytest.approx(2 * stats.norm.sf(4 / np.sqrt(26 / 3 - 1)))
    assert trend(np.array([2.0, 2, 2, 2])) == Drift(0.0, 1.0)
    assert trend(np.array([1.0, 9])) == Drift(0.0, 1.0)


def test_drift_is_found_and_steady_runs_are_not_accused() -> None:
    found = latency_ratio(*interleaved(1, "drift"), resamples=100)
    assert found.drift(0.05).change == pytest.approx(0.14, abs=0.05)
    assert found.drift(0.3) is None
    throttled = np.concatenate([np.full((6, 4), 10.0), np.full((6, 4), 14.0)])
    assert latency_ratio(throttled, np.full((12, 4), 10.0), resamples=100).drift().change > 0.1
    accused = sum(latency_ratio(*interleaved(s, "spikes"), resamples=2).drift(0.02) is not None for s in range(100))
    assert accused <= 3


def test_the_larger_drift_is_named() -> None:
    ratio = LatencyRatio(1.0, (0.9, 1.1), 10, Drift(-0.2, 0.001), Drift(0.15, 0.001))
    assert ratio.drift() == Drift(-0.2, 0.001)
    assert LatencyRatio(1.0, None, 10, Drift(-0.2, 0.2), Drift(0.05, 0.0)).drift() is None


def test_percentiles() -> None:
    assert percentiles(np.arange(1, 102)) == pytest.approx((51.0, 91.0, 100.0))
    assert percentiles([7.0]) == (7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="no latency samples"):
        percentiles([])


def test_warm_up_ends_when_the_median_settles() -> None:
    falling = [100 * 0.8**run + 10 for run in range(40)]
    ends = next(run for run in range(len(falling)) if is_warm(falling[: run + 1]))
    assert 15 < ends < 30
    assert max(falling[ends - 4 : ends + 1]) < 10.6 * 1.05
    spiky = [10.0] * 10
    spiky[7] = 90.0
    assert is_warm(spiky)
    assert not is_warm([10.0] * 9)
    assert not is_warm([12.0] * 5 + [10.0] * 5)
