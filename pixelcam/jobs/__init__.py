"""Jobs in processes of their own: start, watch, stop, cancel, find again, all through a run folder.

A run folder holds ``job.json`` (who works there, how it ended), ``config.json`` (the settings),
``env.json`` (versions and machine), ``events.jsonl`` (append-only), ``stderr.log``, ``checkpoints/`` and,
once somebody asks the job to end, ``STOP`` with the word ``stop`` (keep the best weights) or ``cancel``
(discard them).
"""

from pixelcam.jobs.folder import JobRecord, State
from pixelcam.jobs.host import JobHost, host_job, run_events, stop_check
from pixelcam.jobs.run import Run

__all__ = ["JobHost", "JobRecord", "Run", "State", "host_job", "run_events", "stop_check"]
