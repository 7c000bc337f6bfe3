"""Talks to the service that runs a CI job: comments of pull and merge requests, reports of earlier runs."""
