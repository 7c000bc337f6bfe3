from __future__ import annotations

import numpy as np
import paddle
import programs
import pytest
from paddle import nn

from segexport.compress.batches import Batch
from segexport.compress.live_program import LiveProgram
from segexport.compress.logits import logits_of
from segexport.compress.objective import Objective
from segexport.compress.score_maps import at_size, score_map_of
from segexport.compress.training_options import Losses, TrainingOptions
from segexport.exporter.output_semantics import recognise


def test_the_map_before_the_enlargement_is_found(tmp_path):
    program = programs.export(programs.SmallSegmenter(), tmp_path, [1, 3, 32, 32])
    name, axis = score_map_of(program)
    assert (program.shape(name), axis) == ((1, 3, 16, 16), 1)
    assert program.shape(logits_of(program)[0]) == (1, 3, 32, 32)


def test_scores_that_are_not_enlarged_stay_where_they_are(tmp_path):
    program = programs.export(nn.Sequential(nn.Conv2D(3, 2, 3, padding=1), nn.Softmax(axis=1)), tmp_path, [1, 3, 8, 8])
    assert score_map_of(program) == logits_of(program)


def test_labels_are_read_in_the_middle_of_each_cell():
    labels = np.arange(16).reshape(1, 4, 4)
    np.testing.assert_array_equal(at_size(labels, 2, 2), [[[5, 7], [13, 15]]])
    np.testing.assert_array_equal(at_size(labels, 4, 4), labels)


def test_a_step_on_the_small_map_pulls_the_same_way(tmp_path):
    """Constant labels are the same at both sizes; the gradients of the head's bias are then nearly equal."""
    paddle.seed(2)
    program = programs.export(programs.SmallSegmenter(), tmp_path, [1, 3, 32, 32])
    image = np.random.RandomState(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    batch = Batch(image, np.full((2, 32, 32), 1, np.int64))
    bias = [name for name in program.params if program.params[name].shape == (3,)][-1]
    gradients = []
    for before in (False, True):
        options = TrainingOptions(steps=1, losses=Losses(cross_entropy=1, kl=1), losses_before_enlarging=before)
        net = LiveProgram(program)
        net.eval()
        found = Objective(program, program, options).losses(net, batch)
        assert abs(float(found["kl"])) < 1e-6  # its own teacher
        found["cross_entropy"].backward()
        gradients.append(net.tensor(bias).grad.numpy())
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=0.02)


@pytest.mark.parametrize("head", [None, nn.Softmax(axis=1)])
def test_a_model_saved_twice_ends_in_operators_that_write_what_they_read(head, tmp_path):
    """`load_inference_model` and `save_inference_model` put a `scale` by 1 behind the output, the second in place."""
    net = programs.SmallSegmenter()
    program = programs.export(nn.Sequential(net, head) if head else net, tmp_path, [1, 3, 32, 32])
    output = program.fetch_names[0]
    expected = logits_of(program), score_map_of(program), recognise(program, output)
    last = next(op for op in program.ops if op.type == "scale" and op.output("Out") == program.fetch_names[0])
    last.inputs["X"] = [*last.inputs["X"]]
    again = last.copy()
    again.inputs["X"] = list(last.outputs["Out"])
    program.blocks[0].ops.insert(program.blocks[0].ops.index(last) + 1, again)
    assert again.input("X") == again.output("Out")
    assert (logits_of(program), score_map_of(program), recognise(program, output)) == expected
