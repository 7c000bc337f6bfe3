"""Worker files; see `process.worker_host`."""
