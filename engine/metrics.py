"""The engine's metrics, for Prometheus. Knows their names and meanings; nothing of jobs and devices but numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

STEPS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds
JOBS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


class Metrics:
    """What an engine counts. `memory` says how many bytes of the device are used, by kind."""

    def __init__(self, *, memory: Callable[[], Mapping[str, float]] = dict) -> None:
        self._memory = memory
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        step = "Seconds that a step over all running jobs took"
        self._step = Histogram("dreambot_engine_step_seconds", step, buckets=STEPS, registry=self.registry)
        batch = "Jobs that took part in a step"
        self._batch = Histogram("dreambot_engine_batch_jobs", batch, buckets=JOBS, registry=self.registry)
        self._running = Gauge("dreambot_engine_running_jobs", "Jobs in the batch now", registry=self.registry)
        ended = "Jobs that left the batch, by how"
        self._ended = Counter("dreambot_engine_ended_total", ended, ("how",), registry=self.registry)
        spent = "Device seconds that ended jobs used"
        self._spent = Counter("dreambot_engine_device_seconds_total", spent, registry=self.registry)
        waits = "Times that the engine waited because the store was locked or full"
        self.store_waits = Counter("dreambot_engine_store_waits_total", waits, registry=self.registry)
        rescued = "Jobs of dead engines that were given back"
        self.rescued = Counter("dreambot_engine_rescued_total", rescued, registry=self.registry)
        lag = "Seconds that the event loop came round late"
        self.lag = Gauge("dreambot_engine_loop_lag_seconds", lag, registry=self.registry)
        used = "Bytes of the device's memory, by kind"
        self._device = Gauge("dreambot_engine_device_memory_bytes", used, ("kind",), registry=self.registry)

    def step(self, seconds: float, jobs: int) -> None:
        """A step ended over so many jobs."""
        self._step.observe(seconds)
        self._batch.observe(jobs)

    def running(self, jobs: int) -> None:
        """So many jobs are in the batch."""
        self._running.set(jobs)

    def ended(self, how: str, seconds: float) -> None:
        """A job left, having used so many device seconds."""
        self._ended.labels(how).inc()
        self._spent.inc(seconds)

    def text(self) -> str:
        """All of it, as Prometheus reads it."""
        for kind, size in self._memory().items():
            self._device.labels(kind).set(size)
        return generate_latest(self.registry).decode()
