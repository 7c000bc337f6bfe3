"""Runs tasks in worker processes, here or on other machines: `base` is the interface, `dask_engine` uses Dask."""
