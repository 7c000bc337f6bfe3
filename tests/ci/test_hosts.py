"""`segexport ci` against servers that behave as GitHub's and GitLab's APIs are documented."""

from __future__ import annotations

import os

import pytest
from jobs import PICTURE, github_job, gitlab_job, pictured_report
from report_sample import passing_report
from services import TOKEN, github, gitlab

from segexport import report as reports
from segexport.commands.ci import baseline, comment, keep
from segexport.errors import EnvironmentMissingError, InputError, OptionError, StorageError
from segexport.report import render
from segexport.report.comment import MAX_CHARACTERS, marker
from segexport.report.comment import render as render_comment
from segexport.verdict import Verdict

BRANCH = "segexport-pictures"


class Told:
    """Collects warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def say(self, text: str) -> None:
        pass


@pytest.fixture
def job(monkeypatch):
    """Sets a job's variables, and no other job's."""

    def use(variables: dict[str, str]) -> None:
        for name in list(os.environ):
            if name.startswith(("GITHUB_", "GITLAB_", "CI_")):
                monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture
def folder(tmp_path):
    pictured_report(tmp_path / "report")
    return tmp_path / "report"


def test_github_gets_one_comment_that_is_renewed(tmp_path, folder, job):
    with github() as service:
        job(github_job(tmp_path, service.url))
        stranger = {
            "id": 1,
            "body": marker("report") + "\nmine",
            "user": {"type": "User"},
            "author_association": "NONE",
        }
        service.comments += [stranger] + [{"id": 1000 + index, "body": "words"} for index in range(120)]
        url = comment(folder, pictures_branch=BRANCH, report_url="https://ci/1")
        assert url == "https://github.com/octo/nets/pull/5#issuecomment-122"
        written = service.comments[-1]["body"]
        assert written.startswith("<!-- segexport:report -->\n## 💥 street: 7 exports: ERROR")
        (name,) = service.files[BRANCH]
        assert service.files[BRANCH][name] == PICTURE  # the one that differs most, of the export that failed
        assert f"![val/a.jpg](https://github.com/octo/nets/blob/{BRANCH}/{name}?raw=true)" in written
        assert "[The whole report, with pictures](https://ci/1)" in written
        assert service.comments[0]["body"].endswith("mine")  # a stranger's comment is not taken for ours

        reports.write(passing_report(), folder)
        assert comment(folder, pictures_branch=BRANCH) == url
        assert comment(folder, key="other").endswith("-123")
        assert len(service.comments) == 123
        assert service.comments[121]["body"].startswith(f"{marker('report')}\n## ✅")
        assert (
            "[The whole report, with pictures](https://github.com/octo/nets/actions/runs/9)"
            in service.comments[121]["body"]
        )


def test_a_picture_is_kept_once_and_outlives_a_conflict(tmp_path, folder, job):
    with github() as service:
        job(github_job(tmp_path, service.url))
        service.conflicts = 2
        for _ in range(2):
            comment(folder, pictures_branch=BRANCH)
        assert len(service.files[BRANCH]) == 1
        service.conflicts, service.files = 9, {BRANCH: {}}
        told = Told()
        assert comment(folder, pictures_branch=BRANCH, feedback=told)  # the comment is written all the same
        assert "409 is at 1 but expected 2" in told.warnings[0]
        assert "The report has its picture." in service.comments[-1]["body"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pull_request": False}, "no comment: this job does not run for a pull request"),
        ({"fork": True}, "no comment: the pull request comes from a fork, whose jobs may not write comments"),
    ],
)
def test_a_job_that_may_not_comment_says_so(tmp_path, folder, job, changes, message):
    with github() as service:
        job(github_job(tmp_path, service.url, **changes))
        told = Told()
        assert comment(folder, feedback=told) == ""
        assert told.warnings == [message]
        assert service.asked == []


def test_a_refusal_names_the_right_that_is_missing(tmp_path, folder, job):
    with github() as service:
        job(github_job(tmp_path, service.url))
        service.may_write = False
        with pytest.raises(InputError, match=r"POST .*/issues/5/comments: refused") as caught:
            comment(folder)
        assert caught.value.cause == "403 Resource not accessible by integration"
        assert "permissions: {pull-requests: write}" in caught.value.hint
        assert TOKEN not in str(caught.value)


def test_no_service_and_no_token_are_told(tmp_path, folder, job):
    job({})
    with pytest.raises(EnvironmentMissingError, match="not a job of GitHub Actions or GitLab CI"):
        comment(folder)
    job({"GITHUB_ACTIONS": "true"})
    with pytest.raises(EnvironmentMissingError, match=r"\$GITHUB_TOKEN is not set") as caught:
        comment(folder)
    assert caught.value.hint == "in the workflow: env: {GITHUB_TOKEN: ${{ github.token }}}"
    job(github_job(tmp_path, "http://127.0.0.1:9"))
    with pytest.raises(InputError, match="no answer"):
        comment(folder)


def test_a_picture_outside_the_report_is_not_read(tmp_path, folder, job):
    (tmp_path / "secret.png").write_bytes(b"secret")
    text = (folder / "report.json").read_text(encoding="utf-8").replace("images/a.png", "../secret.png")
    (folder / "report.json").write_text(text, encoding="utf-8")
    with github() as service:
        job(github_job(tmp_path, service.url))
        told = Told()
        comment(folder, pictures_branch=BRANCH, feedback=told)
        assert "not in the report's folder" in told.warnings[0]
        assert service.files == {}


def test_the_baseline_is_the_newest_own_report_that_passed(tmp_path, job):
    passed = render(passing_report(), "json").encode()
    failed = render(passing_report().model_copy(update={"verdict": Verdict.FAIL}), "json").encode()
    wanted = render(passing_report().model_copy(update={"title": "wanted"}), "json").encode()
    name, file = "segexport-report", tmp_path / "new" / "baseline.json"
    with github() as service:
        job(github_job(tmp_path, service.url))
        told = Told()
        assert baseline(file, feedback=told) is None
        assert told.warnings == ["there is no earlier report that passed: nothing is compared with a baseline"]
        assert not file.exists()
        service.add_artifact(name, {"report.json": passed})
        service.add_artifact(name, {"sub/report.json": passed, "report.json": wanted})
        service.add_artifact(name, {"report.json": failed})
        service.add_artifact(name, {"report.json": passed}, branch="other")
        service.add_artifact(name, {"report.json": passed}, fork=True)  # a fork's branch may be called main, too
        service.add_artifact(name, {"words.txt": b""})
        service.add_artifact("else", {"report.json": passed})
        assert baseline(file) == file
        assert file.read_bytes() == wanted
        assert service.strangers == []  # the token was not sent on to the storage
        service.add_artifact(name, {})
        service.artifacts[-1]["zip"] = b"no zip"
        with pytest.raises(InputError, match="not a readable zip"):
            baseline(file)


def test_gitlab_gets_a_note_with_an_uploaded_picture(folder, job):
    with gitlab() as service:
        service.comments.append({"id": 1, "body": marker("report"), "author": {"id": 99}})
        job(gitlab_job(service.url))
        assert comment(folder) == "https://gitlab.example/octo/nets/-/merge_requests/3"
        comment(folder)
        assert len(service.comments) == 2
        (name,) = service.files[""]
        assert service.files[""][name] == PICTURE
        body = service.comments[1]["body"]
        assert f"![val/a.jpg](/uploads/66dbcd21/{name})" in body
        assert "(https://gitlab.example/octo/nets/-/jobs/77/artifacts/file/report/report.html)" in body

        job(gitlab_job(service.url, token=""))
        with pytest.raises(EnvironmentMissingError, match=r"\$GITLAB_TOKEN is not set") as caught:
            comment(folder)
        assert caught.value.cause == "a job's own token may not write comments"


def test_gitlab_gives_the_last_report_of_the_target_branch(tmp_path, job):
    passed = render(passing_report(), "json").encode()
    with gitlab() as service:
        job(gitlab_job(service.url, token=""))
        file = tmp_path / "baseline.json"
        assert baseline(file) is None
        service.artifacts["main/raw/report/report.json?job=exported models"] = passed
        assert baseline(file) == file
        assert file.read_bytes() == passed


def test_a_comment_fits_whatever_the_report_holds():
    report = passing_report()
    many = tuple(report.exports[0].model_copy(update={"name": f"export-{index:04d}"}) for index in range(900))
    text = render_comment(report.model_copy(update={"exports": many}), report_url="https://example.org/report")
    assert len(text) <= MAX_CHARACTERS
    assert text.startswith("<!-- segexport:report -->")
    assert "Some of the report does not fit into a comment." in text
    assert marker("a --> b") == "<!-- segexport:ab -->"


def test_a_baseline_is_kept_in_the_shared_store(tmp_path, folder, job, monkeypatch):
    job({})
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("SEGEXPORT_STORE", str(tmp_path / "store"))
    told, file = Told(), tmp_path / "baseline.json"
    assert baseline(file, name="octo/nets/main", feedback=told) is None
    assert keep(folder, "octo/nets/main", feedback=told) == ""
    assert told.warnings[1] == "not kept: the verdict is ERROR, and a baseline has to have passed"
    reports.write(passing_report(), folder)
    assert keep(folder, "octo/nets/main").endswith("store/baselines/octo/nets/main/report.json")
    assert baseline(file, name="octo/nets/main") == file
    assert file.read_bytes() == (folder / "report.json").read_bytes()
    for name in ("../x", "/x", "a//b", "a/../b", "", "a b"):
        with pytest.raises((OptionError, EnvironmentMissingError)):
            keep(folder, name)
    monkeypatch.setenv("SEGEXPORT_STORE", str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match="the shared store cannot be reached"):
        keep(folder, "a")
    monkeypatch.setenv("SEGEXPORT_STORE", "")
    with pytest.raises(OptionError, match="there is no shared store"):
        keep(folder, "a")
