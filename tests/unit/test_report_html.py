"""The page: complete in itself, safe against hostile names, and readable without eyes or mouse."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
from report_sample import full_report, passing_report

from segexport.report import charts, render
from segexport.report.schema import Latency, Percentiles, ShownImage
from segexport.ui.pictures import panel

_VOID = {"meta", "img", "br", "circle", "line", "rect", "path", "input"}
_STRIP = r"--strip: url\(data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+\)"
_REFERENCES = {"src", "href", "srcset", "action", "data", "poster", "xlink:href", "background", "formaction"}


class _Page(HTMLParser):
    """Every element with its attributes and the text directly in it; asserts that elements close in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def of(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def text(self) -> str:
        return " ".join(" ".join(data for tag, data in self.texts if tag not in ("style", "script")).split())


def _worst(picture: str | None):
    report = passing_report()
    export = report.exports[0].model_copy(
        update={"worst_images": (ShownImage(image="i", agreement=0.9, picture=picture),)}
    )
    return report.model_copy(update={"exports": (export,)})


@pytest.fixture(scope="module")
def page() -> _Page:
    return _Page(render(full_report(), "html"))


def test_nothing_is_loaded_from_anywhere(page: _Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in {"iframe", "object", "embed", "link", "base", "form", "foreignobject", "use"}
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in _REFERENCES:
                assert re.match(r"(#|data:image/(png|jpeg);base64,)", value), (tag, name, value[:60])
            if name == "style":
                assert "url(" not in value or re.fullmatch(_STRIP, value)
    style = "".join(data for tag, data in page.texts if tag == "style")
    assert len(style) > 1000
    assert not re.search(r"url\(|@import|https?:|file:|expression\(", style)
    policy = next(meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    script = "".join(data for tag, data in page.texts if tag == "script")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'")
    assert page.of("script") == [{}]
    assert script == (files("segexport.report") / "slider.js").read_text()


def test_hostile_names_are_text(page: _Page) -> None:
    html = render(full_report(), "html")
    assert html.lower().count("<script") == 1  # the page's own
    assert "\x1b" not in html
    assert "\x07" not in html
    assert "&lt;script&gt;alert(" in html
    assert page.text.count("<script>alert('x')</script>") >= 5  # export, class, note, image, finding
    assert r"\x1b[31mred\x07" in page.text


def test_a_stranger_reads_the_verdict_first(page: _Page) -> None:
    assert page.text.index("Of 7 exports, 1 failed a check") < page.text.index("Results")
    assert "The export does what the reference model does" in _Page(render(passing_report(), "html")).text


def test_figures_of_the_table(page: _Page) -> None:
    for figure in ("0.6365", "-0.0265", "-0.0310 to -0.0220", "99.996 %", "worst 99.951 %", "0.50x", "1.50 MB", "3.21"):
        assert figure in page.text


def test_tables_and_pictures_have_their_semantics(page: _Page) -> None:
    assert all(attributes.get("scope") in {"row", "col"} for attributes in page.of("th"))
    for attributes in page.of("svg"):
        assert attributes.get("aria-hidden") == "true" or (attributes["role"] == "img" and attributes["aria-label"])
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        target = attributes.get("aria-labelledby") or attributes.get("href", "").removeprefix("#")
        assert not target or target in ids
    for attributes in page.of("div"):
        if attributes.get("class") == "scroll":  # what scrolls must be reachable with the keyboard
            assert attributes["tabindex"] == "0"
            assert attributes["role"] == "region"
    assert page.of("html") == [{"lang": "en"}]
    assert page.of("h1") == [{}]


def test_every_class_has_two_bars(page: _Page) -> None:
    own = [float(bar["width"].rstrip("%")) for bar in page.of("rect") if bar.get("class") == "bar-own"]
    base = [float(bar["width"].rstrip("%")) for bar in page.of("rect") if bar.get("class") == "bar-base"]
    assert own == [95.0, 50.0]  # the third class occurs nowhere
    assert base == [95.0, 50.0]


def test_pictures_are_inside(tmp_path) -> None:
    mask = np.zeros((8, 8), np.uint8)
    data = panel(np.zeros((8, 8, 3), np.uint8), mask, mask, mask, passing_report().labels).data
    (tmp_path / "a.png").write_bytes(data)
    page = _Page(render(_worst("a.png"), "html", tmp_path))
    (image,) = page.of("img")
    kind, _, content = image["src"].partition(";base64,")
    assert kind == "data:image/png"
    assert base64.b64decode(content, validate=True) == data
    assert "i: 90.000 % of the pixels agree" in image["alt"]
    assert page.text.count("export differs from reference") == 1


def test_reference_and_export_lie_over_each_other(tmp_path) -> None:
    mask = np.zeros((8, 16), np.uint8)
    drawn = panel(np.zeros((8, 16, 3), np.uint8), mask, mask, mask, passing_report().labels)
    (tmp_path / "a.png").write_bytes(drawn.data)
    report = _worst("a.png")
    (image,) = report.exports[0].worst_images
    image = image.model_copy(update={"picture_size": drawn.size, "tiles": drawn.tiles})
    export = report.exports[0].model_copy(update={"worst_images": (image,)})
    page = _Page(render(report.model_copy(update={"exports": (export,)}), "html", tmp_path))
    (figure,) = (element for element in page.of("figure") if "style" in element)
    assert re.fullmatch(_STRIP, figure["style"])  # once, for all parts
    assert base64.b64decode(figure["style"].partition(",")[2].removesuffix(")"), validate=True) == drawn.data
    parts = [element for element in page.of("div") if element.get("class") == "part"]
    assert [part["aria-label"] for part in parts] == ["image", "truth", "reference", "export", "difference"]
    assert all("--ratio: 2.0" in part["style"] for part in parts)
    (slider,) = page.of("input")
    assert slider["type"] == "range"
    assert slider["aria-label"] == "i: from the export (0) to the reference (100)"
    impossible = image.model_copy(update={"picture_size": (10, 10)})
    export = export.model_copy(update={"worst_images": (impossible,)})
    assert _Page(render(report.model_copy(update={"exports": (export,)}), "html", tmp_path)).of("input") == []


def test_the_best_and_random_images_say_how_they_were_chosen(page: _Page) -> None:
    assert page.text.index("differs most") < page.text.index("differs least") < page.text.index("drawn at random")
    assert "Chosen by a hash of the file names (seed 0), whatever the result." in page.text


def test_the_legend_names_pixels_without_a_class(page: _Page) -> None:
    assert "grey stripes: ignored, not scored" in page.text
    assert "white: a class of the model that is not mapped to one of the data" in page.text
    plain = full_report()
    dataset = plain.dataset.model_copy(update={"labelled": False, "label_map": {}})
    text = _Page(render(plain.model_copy(update={"dataset": dataset}), "html")).text
    assert "grey stripes" not in text
    assert "white:" not in text


def test_size_and_accuracy_are_plotted_where_there_are_two_exports(page: _Page) -> None:
    marks = [element["class"] for element in page.of("svg") if element.get("class", "").startswith("mark")]
    assert marks == ["mark PASS", "mark PASS", "mark FAIL", "mark base"]
    ordinals = [data for tag, data in page.texts if tag == "span" and data in "1234567"]
    assert ordinals[:3] == ["1", "2", "3"]
    assert _Page(render(passing_report(), "html")).of("svg") != []
    assert "Size and accuracy" not in _Page(render(passing_report(), "html")).text


def test_on_a_phone_every_cell_has_its_title(page: _Page) -> None:
    cells = [element for element in page.of("td") if "number" in element.get("class", "") and "role" in element]
    titles = {cell["data-label"] for cell in cells}
    assert titles == {"mIoU", "Δ mIoU", "Agreement", "GPU ms", "CPU ms", "Latency ratio", "Size"}
    style = "".join(data for tag, data in page.texts if tag == "style")
    assert "content: attr(data-label)" in style


def test_a_column_without_a_number_is_left_out() -> None:
    text = _Page(render(_timed(5.0), "html")).text
    assert "GPU ms" not in text
    assert "CPU ms" in text


def test_a_list_of_remarks_names_nothing_that_did_not_pass(page: _Page) -> None:
    assert "What did not pass" in page.text
    passing = _Page(render(passing_report(), "html")).text
    assert "What did not pass" not in passing
    assert "Remarks" in passing


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (None, "no picture was drawn"),
        ("missing.png", "there is no such picture: missing.png"),
        ("../secret.png", "outside the folder of the report"),
        ("/etc/hostname", "outside the folder of the report"),
        ("link.png", "outside the folder of the report"),
        ("text.png", "neither a PNG nor a JPEG: text.png"),
        ("folder.png", "there is no such picture"),
        ("pipe.png", "there is no such picture"),
        ("nul\x00.png", "the picture cannot be read"),
        ("huge.png", "left out to keep this page small"),
    ],
)
def test_pictures_that_cannot_be_shown_say_why(tmp_path, picture, reason) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "text.png").write_text("<svg onload=alert(1)>")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    with (folder / "huge.png").open("wb") as stream:
        stream.write(b"\x89PNG\r\n\x1a\n")
        stream.truncate(20_000_000)
    page = _Page(render(_worst(picture), "html", folder))
    assert page.of("img") == []
    assert reason in page.text


# The latency plot


def _timed(*medians: float, samples=lambda median: (median,) * 5):
    report = full_report()
    exports = tuple(
        report.exports[0].model_copy(
            update={
                "name": f"e{index}",
                "latency": Latency(
                    inference_ms=Percentiles(p50=median, p90=median * 1.1, p99=median * 1.2), samples_ms=samples(median)
                ),
            }
        )
        for index, median in enumerate(medians)
    )
    reference = report.reference.model_copy(update={"latency": None, "gpu_latency": None})
    return report.model_copy(update={"exports": exports, "reference": reference})


def test_linear_axis_starts_at_zero() -> None:
    chart = charts.latency_chart(_timed(10.0, 20.0))
    assert not chart.is_log
    assert chart.ticks[0] == charts.Tick(2.0, "0")
    assert [tick.label for tick in chart.ticks] == ["0", "5", "10", "15", "20"]
    first, second = (strip.median_x - 2.0 for strip in chart.strips)
    assert second == pytest.approx(2 * first, abs=0.02)


def test_log_axis_where_the_medians_lie_far_apart() -> None:
    chart = charts.latency_chart(_timed(1.0, 10.0, 100.0))
    assert chart.is_log
    assert [tick.label for tick in chart.ticks] == ["1", "2", "5", "10", "20", "50", "100"]
    places = [strip.median_x for strip in chart.strips]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.02)


def test_slow_samples_are_counted_not_hidden() -> None:
    report = _timed(10.0, samples=lambda median: (median,) * 97 + (500.0,) * 3)
    (strip,) = charts.latency_chart(report).strips
    assert (strip.count, strip.beyond) == (100, 3)
    assert len(strip.dots) == 97
    assert "e0: 3 of 100 samples are beyond the right end of the axis" in _Page(render(report, "html")).text


def test_quartiles() -> None:
    report = _timed(3.0, samples=lambda median: (3.4, 2.6, 3.2, 2.8, 3.0))
    (strip,) = charts.latency_chart(report).strips
    scale = (strip.median_x - 2.0) / 3.0  # per cent of the plot per millisecond, from 0 at 2 %
    for place, value in zip(
        (strip.box.p10, strip.box.p25, strip.box.p50, strip.box.p75, strip.box.p90),
        (2.68, 2.8, 3.0, 3.2, 3.32),
        strict=True,
    ):
        assert place == pytest.approx(2.0 + scale * value, abs=0.02)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0, 0.0])
def test_times_that_are_none_are_left_out(bad: float) -> None:
    assert charts.latency_chart(_timed(bad)) is None
    (strip,) = charts.latency_chart(_timed(5.0, samples=lambda median: (median, bad))).strips
    assert strip.count == 1


def test_thousands_of_samples_stay_a_small_page() -> None:
    draw = np.random.default_rng(0)
    report = _timed(10.0, 11.0, samples=lambda median: tuple(map(float, median * draw.normal(1, 0.02, 20_000))))
    assert len(render(report, "html")) < 150_000
