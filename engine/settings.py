"""The engine's settings: environment variables DREAMBOT_*, read once in `__main__` and handed down."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_SIZE = 8_192  # draws: an engine's first idle minute, and what a smaller bank counts as


class EngineSettings(BaseSettings):
    """How this engine runs; every field is DREAMBOT_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="DREAMBOT_", frozen=True, extra="ignore")

    device: Literal["auto", "cuda", "cpu"] = "auto"
    dtype: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int = Field(default=0, ge=0, description="CPU threads of the device; 0: one a core")
    packs: Path | None = Field(default=None, description="a folder with further pack TOMLs")
    bank: int = Field(default=DEFAULT_SIZE, ge=0, description="draws an idle engine keeps ready of every pack")
    serves: str = Field(default="", description="packs whose jobs it takes, with commas; empty: all that it finds")
    drain_s: float = Field(default=5.0, ge=0, description="how long running jobs may go on after SIGTERM")
    concepts: Path | None = Field(default=None, description="a TOML file of what pictures must not show")
    checkpoint_s: float = Field(default=10.0, ge=0, description="how often a long dream's state is saved")
    engine_port: int = Field(default=0, ge=0, le=65_535, description="of this engine's metrics and health; 0: none")
    slot: str = Field(default="", description="which of several engines on one host this is: `gpu0`; a cluster sets it")
    step_s: float = Field(default=0.5, gt=0, description="a step takes no further launch after this long")

    def thread_count(self) -> int:
        """Threads to give torch."""
        return self.threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
