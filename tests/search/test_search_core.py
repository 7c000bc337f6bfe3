"""The search itself, on made-up models: it finds the optimum that is known, stops in time, and repeats nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from worlds import INT8, World, best_subset

from segexport.errors import InputError, Interrupted, SegexportError
from segexport.search.candidate import Candidate, Trial
from segexport.search.journal import Journal
from segexport.search.loop import search
from segexport.search.objective import Goal, finalists, ranked
from segexport.search.pareto import front
from segexport.search.propose import propose
from segexport.search.rejection_reasons import reason, slow_layers
from segexport.search.time_budget import spent_s
from segexport.spec import Precision

NAMES = [f"conv{index}" for index in range(8)]


def run(world: World, goal: Goal, folder: Path, *, budget_s: float = 1e6, training: bool = False):
    journal = Journal(folder / "journal.jsonl")
    said: list[str] = []
    outcome = search(
        world.space(training=training), goal, journal, world, budget=world.budget(budget_s), say=said.append
    )
    return outcome, said


def best_of(goal: Goal, outcome) -> Candidate:
    return finalists(goal, outcome.points)[0].candidate


def test_two_bad_layers_of_eight_stay_float(tmp_path):
    harm = dict.fromkeys(NAMES, 0.0002) | {"conv3": 0.02, "conv6": 0.01}
    world = World(harm, dict.fromkeys(NAMES, 5.0))
    goal = Goal(max_miou_drop=0.005)
    outcome, _ = run(world, goal, tmp_path)
    best = best_of(goal, outcome)
    ratio, floats = best_subset(world, NAMES, goal.max_miou_drop)
    assert (ratio, floats) == (0.7, {"conv3", "conv6"})
    assert set(best.float_nodes) == floats


def test_layers_that_int8_makes_slower_stay_float_although_they_lose_nothing(tmp_path):
    gains = dict.fromkeys(NAMES, 5.0) | {"conv1": -8.0, "conv2": -1.0}
    world = World(dict.fromkeys(NAMES, 0.0), gains)
    goal = Goal(max_miou_drop=0.005)
    outcome, _ = run(world, goal, tmp_path)
    assert set(best_of(goal, outcome).float_nodes) == {"conv1", "conv2"} == best_subset(world, NAMES, 0.005)[1]
    assert not any(point.attempt.stage == "layers" for point in outcome.points)  # it was not needed
    in_all, slow = slow_layers(world.space())
    assert in_all.startswith("8 of 8 layers were timed in both profiles: 80.00 ms in float, 59.00 ms in int8 ")
    assert slow == "int8 saves no time in 2 layers: conv1 (10.00 -> 18.00 ms), conv2 (10.00 -> 11.00 ms)"


@pytest.mark.parametrize("seed", range(5))
def test_mixed_gains_and_harms_come_near_the_optimum(tmp_path, seed):
    import numpy as np

    random = np.random.default_rng(seed)
    world = World(
        {name: float(value) for name, value in zip(NAMES, random.exponential(0.003, 8), strict=True)},
        {name: float(value) for name, value in zip(NAMES, random.normal(4.0, 4.0, 8), strict=True)},
    )
    goal = Goal(max_miou_drop=0.006)
    outcome, _ = run(world, goal, tmp_path)
    loss, ratio, _ = world.exactly(best_of(goal, outcome))
    assert loss <= goal.max_miou_drop
    assert ratio <= best_subset(world, NAMES, goal.max_miou_drop)[0] * 1.05  # of 256 mixes, a few dozen were tried


def test_a_cheap_mend_comes_before_a_dear_one(tmp_path):
    world = World(
        dict.fromkeys(NAMES, 0.002),
        dict.fromkeys(NAMES, 5.0),
        calibrations={"mse": 1.0, "minmax": 3.0, "entropy": 0.1},
        pruned={0.5: 0.02},
    )
    goal = Goal(max_miou_drop=0.005)
    outcome, _ = run(world, goal, tmp_path)
    best = best_of(goal, outcome)
    assert (best.export.calibration.method, best.float_nodes, best.steps) == ("entropy", (), ())
    stages = [attempt.stage for attempt in world.tried]
    assert stages[:5] == ["baseline", "precision", "precision", "calibration", "calibration"]
    assert not any(attempt.candidate.steps for attempt in world.tried)  # nothing can be trained here


def test_pruning_is_trained_longer_where_that_may_help_and_combined_with_int8(tmp_path):
    world = World(dict.fromkeys(NAMES, 0.0001), dict.fromkeys(NAMES, 5.0), pruned={0.75: 0.004, 0.5: 0.012, 0.3: 0.3})
    goal = Goal(max_miou_drop=0.005)
    outcome, _ = run(world, goal, tmp_path, training=True)
    best = best_of(goal, outcome)
    assert [step.step for step in best.steps] == ["prune", "finetune"]
    assert (best.steps[0].params["keep_macs"], best.steps[1].params["steps"]) == (0.5, 400)
    assert best.steps[1].params["losses"] == {"cross_entropy": 0.25, "lovasz": 0.5, "kl": 1.0}  # there are labels
    assert best.precision is Precision.INT8
    hopeless = [t for t in world.tried if t.candidate.steps and t.candidate.steps[0].params.get("keep_macs") == 0.3]
    assert [t.candidate.steps[1].params["steps"] for t in hopeless] == [100]


def test_training_with_the_rounding_is_the_last_resort(tmp_path):
    """Every layer loses, so that floats cost all the time that int8 saves; one mend is cheap in one world only."""
    goal = Goal(max_miou_drop=0.005)
    harm, gains = dict.fromkeys(NAMES, 0.01), dict.fromkeys(NAMES, 5.0)
    dear = World(harm, gains, learned=0.02)
    outcome, _ = run(dear, goal, tmp_path / "dear", training=True)
    best = best_of(goal, outcome)
    assert [step.step for step in best.steps] == ["qat"]
    assert best.steps[0].params == {"steps": 100, "batch_size": 8, "calibration": {}}
    assert (best.precision, best.float_nodes) == (Precision.INT8, ())
    stages = [attempt.stage for attempt in dear.tried]
    assert stages.index("qat") > stages.index("layers")

    cheap = World(harm, gains, learned=0.02, calibrations={"mse": 1.0, "entropy": 0.02})
    outcome, _ = run(cheap, goal, tmp_path / "cheap", training=True)
    assert best_of(goal, outcome).steps == ()
    assert not any(attempt.candidate.steps for attempt in cheap.tried)


@pytest.mark.parametrize(("objective", "precision"), [("latency", None), ("size", "w4a8"), ("flops", None)])
def test_int8_that_brings_no_time_is_chosen_for_its_size_alone(tmp_path, objective, precision):
    world = World(dict.fromkeys(NAMES, 0.0), dict.fromkeys(NAMES, 0.0))
    goal = Goal(max_miou_drop=0.005, objective=objective)
    outcome, _ = run(world, goal, tmp_path)
    found = finalists(goal, outcome.points)
    assert [point.candidate.precision.value for point in found[:1]] == ([precision] if precision else [])
    if objective == "latency":
        int8 = next(p for p in outcome.points if p.candidate.precision is Precision.INT8)
        words = reason(int8, goal, outcome.points, None)
        assert words == "brings nothing: 1.00x the time of fp32 (0.99 to 1.01)"
        fp16 = next(p for p in outcome.points if p.candidate.precision is Precision.FP16)
        assert reason(fp16, goal, outcome.points, None) == "slower: 1.50x the time of fp32 (1.49 to 1.51)"


def test_int8_slower_than_fp32_is_not_chosen_even_for_its_size(tmp_path):
    world = World(dict.fromkeys(NAMES, 0.0), dict.fromkeys(NAMES, -2.0))
    goal = Goal(max_miou_drop=0.005, objective="size")
    outcome, _ = run(world, goal, tmp_path)
    chosen = finalists(goal, outcome.points)[0]
    assert chosen.candidate.precision is Precision.FP16


def test_what_a_screening_promised_and_all_images_deny_is_not_a_finalist(tmp_path):
    """On few images everything looks 0.004 better than it is."""
    world = World(dict.fromkeys(NAMES, 0.001), dict.fromkeys(NAMES, 5.0), noise=-0.004)
    goal = Goal(max_miou_drop=0.005)
    outcome, _ = run(world, goal, tmp_path)
    found = finalists(goal, outcome.points)
    assert found
    assert all(world.exactly(point.candidate)[0] <= 0.005 for point in found)
    assert all(point.attempt.rung == "full" for point in found)
    denied = [p for p in outcome.points if p.attempt.rung == "full" and not goal.holds(p)]
    assert denied
    assert reason(denied[0], goal, outcome.points, found[0]).endswith("mIoU, 0.005 is allowed")


def test_the_bold_and_the_safe_finalist(tmp_path):
    """0.004 is within 0.005, its interval of 0.002 to either side is not."""
    harm = dict.fromkeys(NAMES, 0.0) | {"conv0": 0.004}
    world = World(harm, dict.fromkeys(NAMES, 5.0))
    goal = Goal(max_miou_drop=0.005)
    outcome, _ = run(world, goal, tmp_path)
    bold, safe = finalists(goal, outcome.points)
    assert (bold.candidate.float_nodes, safe.candidate.float_nodes) == ((), ("conv0",))


def test_a_failing_export_is_a_row_and_not_the_end(tmp_path):
    world = World(dict.fromkeys(NAMES, 0.0), dict.fromkeys(NAMES, 5.0), broken=frozenset({Precision.INT8}))
    goal = Goal(max_miou_drop=0.005)
    outcome, said = run(world, goal, tmp_path)
    assert finalists(goal, outcome.points) == []
    failed = next(point for point in outcome.points if point.error)
    assert reason(failed, goal, outcome.points, None) == "failed: no int8 here"
    assert "  all int8: failed, no int8 here" in said


def test_without_fp32_there_is_nothing_to_compare_with(tmp_path):
    world = World({"a": 0.0}, {"a": 1.0}, broken=frozenset({Precision.FP32}))
    with pytest.raises(SegexportError, match="the fp32 export cannot be measured") as caught:
        run(world, Goal(max_miou_drop=0.01), tmp_path)
    assert caught.value.cause == "no fp32 here"


def test_a_search_that_was_killed_goes_on_and_repeats_nothing(tmp_path):
    def world() -> World:
        harm = dict.fromkeys(NAMES, 0.0002) | {"conv3": 0.02, "conv6": 0.01}
        return World(harm, dict.fromkeys(NAMES, 5.0), pruned={0.5: 0.01})

    goal = Goal(max_miou_drop=0.005)
    whole = world()
    undisturbed, _ = run(whole, goal, tmp_path / "whole", training=True)

    class Killed(Exception):
        pass

    tried = []
    for stop in (1, 2, 7, 11, 10**6):
        part = world()

        def until(attempt, part=part, stop=stop):
            if len(part.tried) == stop:
                raise Killed
            return part(attempt)

        journal = Journal(tmp_path / "killed" / "journal.jsonl")
        try:
            outcome = search(
                part.space(training=True), goal, journal, until, budget=part.budget(1e6), say=lambda _line: None
            )
        except Killed:
            with journal.path.open("ab") as file:  # as far as the line had got
                file.write(b'{"attempt":{"candid')
        tried += [attempt.id for attempt in part.tried]
    assert tried == [attempt.id for attempt in whole.tried]
    assert [p.model_dump() for p in outcome.points] == [p.model_dump() for p in undisturbed.points]
    assert (outcome.found, outcome.made) == (21, len(whole.tried) - 21)

    again = world()
    last, _ = run(again, goal, tmp_path / "killed", training=True)
    assert (again.tried, last.made, last.found) == ([], 0, len(whole.tried))


def test_the_budget_holds_and_says_what_it_left_out(tmp_path):
    """A screening takes 2 s, a full measurement 10 s."""
    world = World(dict.fromkeys(NAMES, 0.0005), dict.fromkeys(NAMES, 5.0), pruned={0.5: 0.01}, image_s=0.2)
    goal = Goal(max_miou_drop=0.005)
    outcome, said = run(world, goal, tmp_path, budget_s=80.0, training=True)
    assert spent_s(outcome.points) <= 80.0
    assert any(point.attempt.rung == "full" for point in outcome.points)  # time was kept for it
    assert "prune: 1 of 1 tries left out, about 1.7 min of work" in outcome.left_out
    words = "1.3 min of 1.3 min left; reserved: 20 s to measure the best on all 50 images, 20 s for the verdict"
    assert words in said
    assert any(line.startswith("layers: 8 tries, about 6 s; ") for line in said)
    richer, _ = run(world, goal, tmp_path, budget_s=1e4, training=True)
    assert richer.found == len(outcome.points)
    assert any(point.candidate.steps for point in richer.points)


def slow_world(**changes) -> World:
    """512x1024 pixels: a screening takes 40 s, a full measurement 2.8 min, int8 100 s to make; fp16 is slower."""
    given = {"image_s": 2.0, "timing_s": 20.0, "making_s": 100.0, **changes}
    return World(dict.fromkeys(NAMES, 0.0002), dict.fromkeys(NAMES, 5.0), **given)


@pytest.mark.parametrize("image_s", [1.0, 2.0, 5.0, 10.0])
def test_a_slow_network_ships_int8_within_its_budget_verdict_included(tmp_path, image_s):
    world, goal = slow_world(image_s=image_s), Goal(max_miou_drop=0.005)
    budget = world.budget(900.0, verdict_timing_s=20.0)
    outcome = search(world.space(), goal, Journal(tmp_path / "j"), world, budget=budget, say=lambda _line: None)
    assert [attempt.idea for attempt in world.tried[:2]] == ["fp32 as exported", "all int8"]
    bold = finalists(goal, outcome.points)[0]
    assert bold.candidate.precision is Precision.INT8
    assert budget.left_s >= min(budget.verdict_s(outcome.points), 450.0)
    confirmed = bold.attempt.rung == "full"
    assert confirmed == (image_s < 5)  # 4 minutes and more: the verdict follows the screening


def test_the_time_before_the_first_attempt_counts(tmp_path):
    goal, tried = Goal(max_miou_drop=0.005), []
    for earlier_s in (0.0, 600.0):
        world = slow_world(image_s=0.5)
        budget = world.budget(900.0, earlier_s=earlier_s)
        search(world.space(), goal, Journal(tmp_path / f"{earlier_s}"), world, budget=budget, say=lambda _line: None)
        assert budget.left_s >= 0
        tried.append(len(world.tried))
    assert tried[1] < tried[0]


def test_the_reserve_is_bounded_and_said(tmp_path):
    world, said = slow_world(image_s=20.0), []
    budget = world.budget(900.0, verdict_timing_s=20.0)
    outcome = search(
        world.space(), Goal(max_miou_drop=0.005), Journal(tmp_path / "j"), world, budget=budget, say=said.append
    )
    reserve = budget.reserve("precision", outcome.points)
    assert (reserve.confirm_s, reserve.verdict_s) == (225.0, 450.0)  # a quarter and a half, not 150 minutes
    words = "11.3 min of 15.0 min left; reserved: 3.8 min to measure the best on all 50 images, 7.5 min for the verdict"
    assert said[0] == "  fp32 as exported: mIoU -0.0000, 100.00% agree at 1.00x the time (10 images, 220 s)"
    assert said[1] == words


def test_no_stage_is_announced_that_does_not_fit(tmp_path):
    world, said = slow_world(image_s=3.0), []
    search(
        world.space(),
        Goal(max_miou_drop=0.005),
        Journal(tmp_path / "j"),
        world,
        budget=world.budget(600.0),
        say=said.append,
    )
    announced = [index for index, line in enumerate(said) if re.match(r"\w+: .* left$", line)]
    assert announced
    assert all(said[index + 1].startswith("  ") for index in announced)  # a result follows
    assert any(line.startswith("parts: 3 of 3 tries left out") for line in said)
    for index in announced:
        estimate, left = re.match(r".* about (\S+ \S+); (\S+ \S+) left$", said[index]).groups()
        assert seconds_of(estimate) <= seconds_of(left)


def seconds_of(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"s": 1, "min": 60}[unit]


def test_the_sensitivity_of_some_of_the_layers_is_not_measured(tmp_path):
    """Every layer alone in int8 takes 8 times 4 s; they are left out as a whole, since half of them say nothing."""
    world = World(dict.fromkeys(NAMES, 0.002), dict.fromkeys(NAMES, 5.0), image_s=1.0)
    outcome, said = run(world, Goal(max_miou_drop=0.005), tmp_path, budget_s=130.0)
    assert not any(point.attempt.stage == "layers" for point in outcome.points)
    assert "layers: 8 of 8 tries left out, about 32 s of work" in said


def test_equal_cost_is_decided_by_accuracy(tmp_path):
    """Of two times that differ by less than their intervals, the lower one is noise."""
    goal = Goal(max_miou_drop=0.01)
    world = World(dict.fromkeys(NAMES, 0.0005), dict.fromkeys(NAMES, 5.0), calibrations={"mse": 1.0, "minmax": 0.5})
    outcome, _ = run(world, goal, tmp_path)
    base = next(p for p in outcome.points if p.attempt.stage == "baseline")
    plain = next(p for p in outcome.points if p.candidate.precision is Precision.INT8)

    def timed(method: str, ratio: float, half: float, agreement: float) -> Trial:
        attempt = plain.attempt.model_copy(update={"candidate": Candidate(export=INT8).calibrated(method=method)})
        times = {"latency_ratio": ratio, "latency_interval": (ratio - half, ratio + half)}
        return plain.model_copy(update={"attempt": attempt, "agreement": agreement, **times})

    lucky, accurate = timed("mse", 0.60, 0.05, 0.97), timed("minmax", 0.64, 0.05, 0.99)
    assert ranked(goal, [base, lucky, accurate]) == [accurate, lucky]
    words = "costs as much as the chosen one: 0.60x against 0.64x; accuracy decided"
    assert reason(lucky, goal, [base, lucky, accurate], accurate) == words
    surely = timed("mse", 0.60, 0.01, 0.97)
    assert ranked(goal, [base, surely, timed("minmax", 0.64, 0.01, 0.99)])[0] == surely
    far = timed("minmax", 0.75, 0.3, 0.99)  # more than a tenth slower, however uncertain
    assert ranked(goal, [base, lucky, far])[0] == lucky


@pytest.mark.parametrize(("half", "pays"), [(0.05, True), (0.14, False), (0.6, True)])
def test_an_interval_that_holds_1_decides_unless_the_machine_was_too_busy(tmp_path, half, pays):
    goal = Goal(max_miou_drop=0.01)
    world = World(dict.fromkeys(NAMES, 0.0005), dict.fromkeys(NAMES, 5.0))
    outcome, _ = run(world, goal, tmp_path)
    base = next(p for p in outcome.points if p.attempt.stage == "baseline")
    full = next(p for p in outcome.points if p.attempt.rung == "full" and p.candidate.precision is Precision.INT8)
    ratio = 0.94 if half < 0.5 else 0.8
    times = {"latency_ratio": ratio, "latency_interval": (ratio - half, ratio + half / 1.6)}
    assert goal.pays(full.model_copy(update=times), base) == pays


def test_files_of_equal_size_are_decided_by_accuracy(tmp_path):
    """Equalization makes a file a few bytes smaller."""
    goal = Goal(max_miou_drop=0.01, objective="size")
    world = World(dict.fromkeys(NAMES, 0.0005), dict.fromkeys(NAMES, 5.0))
    outcome, _ = run(world, goal, tmp_path)
    base = next(p for p in outcome.points if p.attempt.stage == "baseline")
    plain = next(p for p in outcome.points if p.candidate.precision is Precision.INT8)
    smaller = plain.model_copy(
        update={
            "attempt": plain.attempt.model_copy(update={"candidate": Candidate(export=INT8).calibrated(equalize=True)}),
            "size_bytes": plain.size_bytes - 40,
            "agreement": plain.agreement - 0.01,
        }
    )
    assert ranked(goal, [base, smaller, plain]) == [plain, smaller]


def test_4_bit_weights_are_tried_with_the_best_int8_settings_where_size_counts(tmp_path):
    harm = dict.fromkeys(NAMES, 0.0) | {"conv3": 0.02}
    tried = {}
    for objective in ("size", "latency"):
        world = World(harm, dict.fromkeys(NAMES, 5.0))
        outcome, _ = run(world, Goal(max_miou_drop=0.005, objective=objective), tmp_path / objective)
        tried[objective] = [p for p in outcome.points if p.candidate.precision is Precision.W4A8]
        best = finalists(Goal(max_miou_drop=0.005, objective=objective), outcome.points)[0].candidate
        assert (best.precision.value, best.float_nodes) == ({"size": "w4a8", "latency": "int8"}[objective], ("conv3",))
    assert not tried["latency"]
    assert {p.candidate.calibrated_by.ends for p in tried["size"]} == {4, 8}


def test_equal_points_give_equal_proposals(tmp_path):
    world = World(dict.fromkeys(NAMES, 0.002), dict.fromkeys(NAMES, 5.0))
    goal = Goal(max_miou_drop=0.005)
    outcome, _ = run(world, goal, tmp_path)
    for count in range(len(outcome.points)):
        first, second = (propose(world.space(), goal, outcome.points[:count]) for _ in range(2))
        assert first == second
    assert propose(world.space(), goal, outcome.points) == []


def test_many_layers_are_tried_in_groups(tmp_path):
    names = [f"c{index}" for index in range(50)]
    world = World(dict.fromkeys(names, 0.0) | {"c17": 0.02}, dict.fromkeys(names, 0.5))
    goal = Goal(max_miou_drop=0.005)
    journal = Journal(tmp_path / "j.jsonl")
    outcome = search(world.space(groups=8), goal, journal, world, budget=world.budget(1e6), say=lambda _line: None)
    assert sum(point.attempt.stage == "layers" for point in outcome.points) == 8
    best = finalists(goal, outcome.points)[0].candidate
    assert "c17" in best.float_nodes
    assert len(best.float_nodes) <= 7


def test_a_journal_of_something_else(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(InputError, match=r"j\.jsonl: line 1 is not a try of a search") as caught:
        Journal(path)
    assert caught.value.hint == f"remove {path} to search anew"


def test_candidates_are_the_same_when_their_bytes_are(tmp_path):
    plain = Candidate(export=INT8)
    assert plain.key == Candidate(export=INT8.model_copy(update={"name": "x"})).key
    keys = {plain.key, plain.calibrated(method="minmax").key, plain.calibrated(float_nodes=("a",)).key}
    assert len(keys) == 3


def test_the_front_by_hand():
    values = {"a": (1.0, 5.0), "b": (2.0, 3.0), "c": (2.5, 3.0), "d": (3.0, 1.0), "e": (1.0, 6.0), "f": (3.0, 1.0)}
    assert front(values) == ["a", "b", "d", "f"]
    assert front({}) == []


def test_of_equals_the_one_that_agrees_best_is_first(tmp_path):
    world = World(dict.fromkeys(NAMES, 0.0001), dict.fromkeys(NAMES, 5.0), calibrations={"mse": 1.0, "minmax": 0.5})
    goal = Goal(max_miou_drop=0.005)
    outcome, _ = run(world, goal, tmp_path)
    assert ranked(goal, outcome.points)[0].candidate.export.calibration.method == "minmax"


@pytest.mark.parametrize("stage", ["precision", "calibration", "layers", "confirm"])
def test_what_the_machine_ended_is_no_result_and_is_tried_again(tmp_path, stage):
    harm = dict.fromkeys(NAMES, 0.0002) | {"conv3": 0.02, "conv6": 0.01}
    goal = Goal(max_miou_drop=0.005)

    def world():
        return World(harm, dict.fromkeys(NAMES, 5.0), calibrations={"mse": 1.0, "minmax": 0.5})

    undisturbed, _ = run(world(), goal, tmp_path / "undisturbed")
    inner, ended = world(), []

    def disturbed(attempt):
        if attempt.stage == stage and not ended:
            ended.append(attempt)
            raise Interrupted("onnxruntime: the process was killed by SIGKILL during 'infer'")
        return inner(attempt)

    journal, said = Journal(tmp_path / "journal.jsonl"), []
    outcome = search(inner.space(), goal, journal, disturbed, budget=inner.budget(1e6), say=said.append)
    (attempt,) = ended
    words = (
        f"{attempt.idea}: onnxruntime: the process was killed by SIGKILL during 'infer'; the next run tries it again"
    )
    assert outcome.left_out == [words]
    assert any(words in line for line in said)
    written = Journal(tmp_path / "journal.jsonl")
    assert attempt.id not in [point.attempt.id for point in written.points]
    assert all(point.error is None for point in written.points)

    again, _ = run(world(), goal, tmp_path)  # the same journal
    assert attempt.id in [point.attempt.id for point in again.points]
    assert best_of(goal, again).key == best_of(goal, undisturbed).key


def test_a_baseline_that_the_machine_ended_ends_the_search(tmp_path):
    def ended(_attempt):
        raise Interrupted("onnxruntime: no answer in 300 s", hint="run the command again")

    journal = Journal(tmp_path / "journal.jsonl")
    world = World({"a": 0.0}, {"a": 1.0})
    with pytest.raises(Interrupted, match="no answer in 300 s"):
        search(
            world.space(), Goal(max_miou_drop=0.005), journal, ended, budget=world.budget(1e6), say=lambda _line: None
        )
    assert not journal.path.exists()
