"""Writes a run to MLflow, by its client: a server, or a folder."""

from __future__ import annotations

import os
from pathlib import Path

from segexport.errors import EnvironmentMissingError
from segexport.records.record import Record

_EXPERIMENT = "segexport"
_MAX_PARAM = 500  # characters that every version of the server takes
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the default waits for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


class MlflowLog:
    """The runs of the experiment $MLFLOW_EXPERIMENT_NAME, or else `segexport`.

    Args:
        uri: Tracking URI: `http://host:5000`, `file:///folder`, or a folder.

    Raises:
        EnvironmentMissingError: MLflow is not installed.
    """

    def __init__(self, uri: str) -> None:
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        is_folder = "://" not in uri and uri != "databricks"
        if is_folder or uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # since 3.7 a folder has to be asked for
        self._uri = Path(uri).resolve().as_uri() if is_folder else uri
        try:
            import mlflow.tracking  # noqa: F401
        except ImportError as error:
            raise EnvironmentMissingError(
                "--log mlflow needs MLflow", cause=str(error), hint="pip install 'segexport[mlflow]'"
            ) from None

    def write(self, record: Record) -> str:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self._uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known is not None else client.create_experiment(name)
        run = client.create_run(experiment, run_name=record.name).info.run_id
        try:
            for key, value in record.params.items():
                client.log_param(run, key, value[:_MAX_PARAM])
            for key, value in record.figures.items():
                client.log_metric(run, key, value)
            for key, text in record.tables.items():
                client.log_text(run, text, f"{key}.md")
            if record.folder is not None:
                client.log_artifacts(run, str(record.folder), "files")
            for key, file in record.pictures.items():
                client.log_artifact(run, str(file), f"pictures/{key}")
        except BaseException:
            client.set_terminated(run, status="FAILED")
            raise
        client.set_terminated(run)
        return f"run {run} in the experiment {name!r} of {self._uri}"
