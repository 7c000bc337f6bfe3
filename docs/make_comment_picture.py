"""Renders the comment of a report to a picture: `python docs/make_comment_picture.py REPORT_FOLDER PICTURE.png`.

Needs Debian's packages chromium and fonts-noto-color-emoji, and markdown-it-py, which comes with rich. The page has
GitHub's measures, not its style sheet.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt

from segexport import report as reports
from segexport.report.comment import render, worst_picture

_PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ font: 14px/1.5 "DejaVu Sans", sans-serif; color: #1f2328; margin: 16px; width: 860px }}
table {{ border-collapse: collapse }} td, th {{ border: 1px solid #d1d9e0; padding: 6px 10px }}
tr:nth-child(2n) {{ background: #f6f8fa }} img {{ max-width: 100% }} h2 {{ border-bottom: 1px solid #d1d9e0 }}
</style>{body}"""


def main(folder: Path, output: Path) -> None:
    report = reports.read(folder)
    shown = worst_picture(report)
    picture = (folder / (shown[1].picture or "")).resolve().as_uri() if shown else ""
    text = render(report, picture_url=picture, report_url="https://github.com/octo/nets/actions/runs/9/artifacts/1")
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    markdown.validateLink = lambda _url: True  # the picture is a file here
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "comment.html"
        page.write_text(_PAGE.format(body=markdown.render(text)), encoding="utf-8")
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={scratch}/profile", "--window-size=900,1100", f"--screenshot={output.resolve()}"]
        subprocess.run([*command, page.as_uri()], check=True, timeout=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
