"""Metrics of cron jobs: files for node_exporter's textfile collector, in the folder METRICS_TEXTFILE_DIR.

Prometheus cannot scrape a job that has ended, so jobs write their metrics to files. Declare a job's metrics in
`smsgateway.metrics` like all others, and run it as

    with textfile_metrics.job("partitions", metrics.PARTITIONS_AHEAD, metrics.PARTITIONS_ARCHIVED):
        ...  # sets them

After the block, even after an error, `smsgateway_partitions.prom` has those metrics and
`job_last_run_…{job="partitions"}`. `smsgateway_partitions_success.prom` has the time of the last success, which a
failed run does not change. Files are replaced as a whole, so a reader never sees a part of one. Errors in the block are
raised to the caller. An error of a type in `not_run` means that the job did not begin, and leaves the files unchanged.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from django.conf import settings
from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.registry import Collector

from smsgateway import metrics

log = structlog.get_logger(__name__)


@contextmanager
def job(name: str, *reported: Collector, not_run: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Run the block as the job `name` (letters, digits, underscores) and write its metrics to files.

    Without METRICS_TEXTFILE_DIR it writes no files. A folder that cannot be written is logged; the job goes on.
    `not_run`: errors that occur before the job does anything, such as another run in progress; they are not failures.
    """
    for metric in (metrics.JOB_RUN, metrics.JOB_SUCCEEDED, metrics.JOB_DURATION, metrics.JOB_SUCCESS):
        metric.clear()  # series of an earlier job in this process are in that job's own files
    started = time.monotonic()
    succeeded, ran = False, True
    try:
        yield
        succeeded = True
    except not_run:
        ran = False
        raise
    finally:
        if ran:
            _report(name, reported, seconds=time.monotonic() - started, succeeded=succeeded)


def _report(name: str, reported: Iterable[Collector], *, seconds: float, succeeded: bool) -> None:
    now = time.time()
    metrics.JOB_DURATION.labels(name).set(seconds)
    metrics.JOB_RUN.labels(name).set(now)
    metrics.JOB_SUCCEEDED.labels(name).set(succeeded)
    _write(name, metrics.JOB_RUN, metrics.JOB_SUCCEEDED, metrics.JOB_DURATION, *reported)
    if succeeded:
        metrics.JOB_SUCCESS.labels(name).set(now)
        _write(f"{name}_success", metrics.JOB_SUCCESS)


def _write(name: str, *reported: Collector) -> None:
    folder = settings.CONFIG.general.metrics_textfile_dir
    if not folder:
        return
    registry = CollectorRegistry()
    for metric in reported:
        registry.register(metric)
    try:
        write_to_textfile(str(Path(folder) / f"smsgateway_{name}.prom"), registry)
    except OSError as error:
        log.error("textfile_metrics_not_written", folder=folder, error=str(error))
