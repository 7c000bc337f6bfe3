"""The card of an export: Hugging Face reads it, and a check's verdict replaces the one before."""

from __future__ import annotations

import pytest
from folders import make_export
from report_sample import EVIL_NAME, full_report, passing_report

from segexport.errors import UnreadableError
from segexport.records.model_card import update_card, write_card
from segexport.verdict import Verdict


def test_an_export_says_that_nobody_has_checked_it(tmp_path):
    folder = make_export(tmp_path / "onnx").path
    card = pytest.importorskip("huggingface_hub").ModelCard.load(folder / "README.md")
    assert (card.data.license, card.data.library_name) == ("unknown", "segexport")
    assert card.data.pipeline_tag == "image-segmentation"
    assert card.data.tags == ["onnx", "fp32", "semantic-segmentation"]
    assert card.data.eval_results is None
    assert "Nobody has compared it with its original yet" in card.text


def test_a_verdict_is_read_as_results_and_replaces_the_last_one(tmp_path):
    made = make_export(tmp_path / "onnx")
    file = made.path / "README.md"
    text = file.read_text(encoding="utf-8").replace("license: unknown", "license: mit")
    file.write_text(text.replace("## Run it", "Our own words.\n\n## Run it"), encoding="utf-8")
    failed = passing_report().model_copy(
        update={"exports": (passing_report().exports[0].model_copy(update={"verdict": Verdict.FAIL, "miou": 0.5}),)}
    )
    update_card(made.path, made.manifest, failed, "onnx-fp32")
    assert "**FAIL**, by segexport 0.1.0, 2024-05-06" in file.read_text(encoding="utf-8")
    update_card(made.path, made.manifest, passing_report(), "onnx-fp32")
    text = file.read_text(encoding="utf-8")
    assert "FAIL" not in text
    assert "**PASS**, by segexport 0.1.0, 2024-05-06" in text
    assert "Our own words." in text
    assert text.count("<!-- segexport:verdict -->") == 1
    card = pytest.importorskip("huggingface_hub").ModelCard.load(file)
    assert card.data.license == "mit"
    results = {one.metric_name: one for one in card.data.eval_results}
    assert results["mIoU"].metric_value == passing_report().exports[0].miou
    assert (results["mIoU"].dataset_name, results["mIoU"].dataset_split) == ("street", "val")
    assert results["mIoU"].metric_type == "mean_iou"
    assert "agreement with the original" in results


def test_a_card_without_a_place_for_the_verdict_gets_one(tmp_path):
    made = make_export(tmp_path / "onnx")
    (made.path / "README.md").write_text("# Ours\n", encoding="utf-8")
    update_card(made.path, made.manifest, passing_report(), "onnx-fp32")
    text = (made.path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("---\nmodel-index:\n")
    assert "# Ours\n\n## Verdict\n\n<!-- segexport:verdict -->\n\n**PASS**" in text
    (made.path / "README.md").unlink()
    update_card(made.path, made.manifest, passing_report(), "onnx-fp32")
    assert "**PASS**" in (made.path / "README.md").read_text(encoding="utf-8")


def test_front_matter_that_is_none_is_left_alone(tmp_path):
    made = make_export(tmp_path / "onnx")
    for text, message in (("---\n- a\n---\n", "is no mapping"), ("---\n{\n---\n", "is not YAML")):
        (made.path / "README.md").write_text(text, encoding="utf-8")
        with pytest.raises(UnreadableError, match=message):
            update_card(made.path, made.manifest, passing_report(), "onnx-fp32")
        assert (made.path / "README.md").read_text(encoding="utf-8") == text


def test_a_hostile_row_cannot_end_the_verdict(tmp_path):
    made = make_export(tmp_path / "onnx")
    write_card(made.path, made.manifest, full_report(), EVIL_NAME)
    text = (made.path / "README.md").read_text(encoding="utf-8")
    assert "<script>" not in text
    assert text.count("<!-- /segexport:verdict -->") == 1
    assert "model-index" not in text  # nothing was measured
