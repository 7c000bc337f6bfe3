"""Finds the service that runs this job."""

from __future__ import annotations

import os
from collections.abc import Mapping

from segexport.ci.github import GitHub
from segexport.ci.gitlab import GitLab
from segexport.ci.host import CodeHost
from segexport.errors import EnvironmentMissingError


def code_host(environment: Mapping[str, str] = os.environ) -> CodeHost:
    """The service that runs this job.

    Raises:
        EnvironmentMissingError: This is no job of GitHub or GitLab, or its token is missing.
    """
    if environment.get("GITHUB_ACTIONS") == "true":
        return GitHub.of(environment)
    if environment.get("GITLAB_CI") == "true":
        return GitLab.of(environment)
    raise EnvironmentMissingError(
        "this is not a job of GitHub Actions or GitLab CI",
        cause="neither GITHUB_ACTIONS nor GITLAB_CI is true",
        hint="elsewhere, `segexport report FOLDER --format markdown` writes the text of a comment",
    )
