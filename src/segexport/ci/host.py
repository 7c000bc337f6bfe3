"""What segexport asks of the service that runs a CI job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from segexport.errors import EnvironmentMissingError


class CodeHost(Protocol):
    """A service with pull requests. Numbers and addresses are those of the running job."""

    @property
    def name(self) -> str:
        """The service's name, for messages."""
        ...

    def request(self) -> str:
        """The number of the pull or merge request; empty if the job has none, or may not write to it."""
        ...

    def why_no_request(self) -> str:
        """Why `request` is empty."""
        ...

    def report_url(self) -> str:
        """The address of the job's report."""
        ...

    def comment(self, marker: str, text: str) -> str:
        """Renews our comment that begins with `marker`, or writes the first one; returns its address."""
        ...

    def picture(self, name: str, data: bytes, branch: str) -> str:
        """Puts a picture where a comment can show it, and returns its address; empty if there is no such place.

        Args:
            name: File name.
            branch: Branch for pictures, for a service that keeps them in the repository.
        """
        ...

    def reports(self, artifact: str, branch: str) -> Iterator[bytes]:
        """The `report.json` of earlier jobs on a branch, the newest first.

        Args:
            artifact: Name of the artifact, or folder in it; empty: the one that our templates write.
            branch: Empty: the one that a request goes to, else the default one.
        """
        ...


def variable(environment: Mapping[str, str], name: str, hint: str = "") -> str:
    """An environment variable that the service sets.

    Raises:
        EnvironmentMissingError: It is missing or empty.
    """
    value = environment.get(name, "")
    if not value:
        raise EnvironmentMissingError(f"${name} is not set", hint=hint or "the service sets it in its jobs")
    return value
