"""On synthetic times; no clock is looked at."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from segexport.measure.latency_statistics import (
    Drift,
    LatencyRatio,
    is_warm,
    latency_ratio,
    percentiles,
    ratio_of_separate,
    session_times,
    trend,
)


def interleaved(
    seed: int,
    kind: str,
    *,
    ratio: float = 1.0,
    sessions: int = 8,
    blocks: int = 3,
    runs: int = 6,
    process: float = 0.02,
) -> tuple[np.ndarray, ...]:
    """Times of two programs that ran A B B A in each block on one machine with one kind of trouble.

    Args:
        process: Standard deviation of the logarithm of a process's own factor.
    """
    rng = np.random.default_rng(seed)
    count = sessions * blocks * 2 * runs
    times = 10 * rng.lognormal(0, 0.03, count)
    if kind == "drift":
        times *= np.linspace(1, 1.15, count)
    if kind == "spikes":
        times *= np.where(rng.random(count) < 0.1, rng.uniform(1.5, 5, count), 1)
    if kind == "walk":
        times *= np.exp(np.cumsum(rng.normal(0, 0.003, count)))
    rows = times.reshape(sessions, blocks, 2 * runs)
    half = runs // 2
    export, baseline = rows[..., half : half + runs], np.concatenate([rows[..., :half], rows[..., half + runs :]], 2)
    own = rng.lognormal(0, process, (2, sessions, 1, 1))
    return export * own[0] * ratio, baseline * own[1]


@pytest.mark.parametrize("kind", ["steady", "spikes", "drift", "walk"])
@pytest.mark.parametrize(("ratio", "sessions"), [(1.0, 8), (0.7, 5)])
def test_the_interval_holds_the_true_ratio(kind: str, ratio: float, sessions: int) -> None:
    repeats = 500
    pairs = [interleaved(seed, kind, ratio=ratio, sessions=sessions) for seed in range(repeats)]
    intervals = np.array([latency_ratio(*pair).interval for pair in pairs])
    held = ((intervals[:, 0] <= ratio) & (ratio <= intervals[:, 1])).mean()
    assert 0.92 < held < 0.985  # 95 % nominal, three standard errors of 500 repeats are 2.9 %
    assert np.median(intervals[:, 1] - intervals[:, 0]) < 0.09 * ratio


def test_blocks_of_one_session_would_be_too_sure() -> None:
    """The test above can fail: as many blocks, all of one pair of processes, miss 1."""
    held = 0
    for seed in range(100):
        pair = (samples.reshape(24, 1, -1) for samples in interleaved(seed, "steady", sessions=1, blocks=24))
        low, high = latency_ratio(*pair).interval
        held += low <= 1 <= high
    assert held < 70


def test_without_interleaving_drift_would_mislead() -> None:
    export, baseline = interleaved(0, "drift", process=0)
    ordered = np.sort(np.concatenate([export, baseline]).ravel()).reshape(2, *export.shape)
    low, _ = latency_ratio(ordered[1], ordered[0]).interval
    assert low > 1.01


def test_ratio_by_hand() -> None:
    found = latency_ratio(np.full((6, 2, 4), 3.0), np.full((6, 1, 2), 4.0))
    assert (found.value, found.interval) == (pytest.approx(0.75), pytest.approx((0.75, 0.75)))
    assert (found.sessions, found.drift()) == (6, None)
    # Logarithms -a, 0, a: mean 0, standard error a / sqrt(3), and t(0.975) of 2 degrees of freedom is 4.302653.
    spread = np.exp([-0.1, 0.0, 0.1]).reshape(3, 1, 1)
    low, high = latency_ratio(spread, np.ones((3, 1, 1))).interval
    assert (np.log(low), np.log(high)) == pytest.approx((-0.2484138, 0.2484138), rel=1e-5)


def test_few_sessions_give_no_interval() -> None:
    found = latency_ratio(np.full((2, 3, 9), 3.0), np.full((2, 3, 9), 4.0))
    assert (found.value, found.interval) == (pytest.approx(0.75), None)
    assert ratio_of_separate([3.0, 3.0], [4.0] * 9).interval is None


def test_a_session_takes_the_lower_quartile_of_its_runs() -> None:
    quiet = np.array([[[4.0, 4.0, 4.0], [4.0, 5.0, 5.0]]])
    assert session_times(quiet) == pytest.approx([4.0])
    disturbed = np.array([[[4.0, 4.0, 4.0], [40.0, 50.0, 90.0]]])
    assert session_times(disturbed) == pytest.approx([4.0])
    assert session_times(np.array([[[1.0, 2.0, 3.0, 4.0, 5.0]]])) == pytest.approx([2.0])


def test_separate_measurements_equal_welch() -> None:
    rng = np.random.default_rng(0)
    export, baseline = rng.lognormal(0.2, 0.05, 8), rng.lognormal(0, 0.01, 5)
    found = ratio_of_separate(export, baseline)
    wanted = stats.ttest_ind(np.log(export), np.log(baseline), equal_var=False)
    low, high = wanted.confidence_interval()
    assert found.value == pytest.approx(np.exp(np.log(export).mean() - np.log(baseline).mean()))
    assert found.sessions == 5
    assert np.log(found.interval) == pytest.approx((low, high), rel=0.03)  # whole degrees of freedom
    assert found.interval[0] <= np.exp(low)
    assert ratio_of_separate([3.0] * 3, [4.0] * 3).interval == pytest.approx((0.75, 0.75))


@pytest.mark.parametrize(
    ("export", "baseline", "message"),
    [
        (np.ones((5, 1, 2)), np.ones((6, 1, 2)), "equal sessions"),
        (np.ones((5, 2)), np.ones((5, 2)), "equal sessions"),
        (np.ones((0, 1, 2)), np.ones((0, 1, 2)), "no latency samples"),
        (np.zeros((5, 1, 2)), np.ones((5, 1, 2)), "finite and positive"),
        (np.full((5, 1, 2), np.nan), np.ones((5, 1, 2)), "finite and positive"),
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
    found = latency_ratio(*interleaved(1, "drift", process=0))
    assert found.drift(0.05).change == pytest.approx(0.14, abs=0.05)
    assert found.drift(0.3) is None
    throttled = np.concatenate([np.full((4, 3, 4), 10.0), np.full((4, 3, 4), 14.0)])
    assert latency_ratio(throttled, np.full((8, 3, 4), 10.0)).drift().change > 0.1
    accused = sum(latency_ratio(*interleaved(seed, "spikes")).drift() is not None for seed in range(200))
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
