"""What the engine exports."""

from __future__ import annotations

from engine.metrics import Metrics


def test_steps_batches_ends_and_memory() -> None:
    """Each number goes where its name says; memory is asked for when it is scraped."""
    metrics = Metrics(memory=lambda: {"allocated": 5.0})
    metrics.step(0.3, 4)
    metrics.running(3)
    metrics.ended("completed", 1.5)
    text = metrics.text()
    for line in (
        'dreambot_engine_step_seconds_bucket{le="0.25"} 0.0',
        'dreambot_engine_step_seconds_bucket{le="0.5"} 1.0',
        'dreambot_engine_batch_jobs_bucket{le="4.0"} 1.0',
        "dreambot_engine_running_jobs 3.0",
        'dreambot_engine_ended_total{how="completed"} 1.0',
        "dreambot_engine_device_seconds_total 1.5",
        'dreambot_engine_device_memory_bytes{kind="allocated"} 5.0',
    ):
        assert line in text
