"""What deploy/ promises: units that give little away, images that are nobody's root, alerts on metrics that exist."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.metrics import Metrics as BotMetrics
from bot.settings import BotSettings
from bot.store import open_store
from engine.metrics import Metrics as EngineMetrics
from engine.settings import EngineSettings
from tests.readme_map import ROOT

DEPLOY = ROOT / "deploy"
UNITS = ("dreambot-bot.service", "dreambot-engine.service")
METRIC = re.compile(r"\b(?:dreambot|process)_[a-z_]+\b")


def systemd(*words: str) -> str:
    """What systemd-analyze says; skipped where there is none."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    told = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)
    return told.stdout + told.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_gives_little_away(unit: str) -> None:
    """`systemd-analyze security --offline` finds an exposure of at most 2.0."""
    told = systemd("security", "--offline=true", str(DEPLOY / unit))
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", told)
    assert found, told
    assert float(found[1]) <= 2.0


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_understood(unit: str) -> None:
    """Not a line is ignored or unknown; only that the program is not installed here may be said."""
    told = [line for line in systemd("verify", str(DEPLOY / unit)).splitlines() if unit in line]
    assert [line for line in told if "is not executable" not in line] == []


def exported() -> Iterator[str]:
    """The names that Prometheus will see."""

    async def bot(home: Path) -> BotMetrics:
        async with open_store(BotSettings(home=home)) as store:
            return BotMetrics(store)

    with tempfile.TemporaryDirectory() as home:
        registries = (asyncio.run(bot(Path(home))).registry, EngineMetrics().registry)
    for registry in registries:
        for family in registry.collect():
            yield family.name
            yield from (family.name + end for end in ("_total", "_bucket", "_sum", "_count"))


def used(name: str) -> set[str]:
    """The metrics that the expressions of a file name."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        found = [target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"]]
    else:
        found = [rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    return {metric for expression in found for metric in METRIC.findall(expression)}


def test_alerts_and_dashboard_name_what_is_exported() -> None:
    """Every metric in them exists; and what the engine and the bot export for people to see is on the dashboard."""
    names = set(exported())
    for file in ("alerts.yaml", "grafana.json"):
        assert used(file) - names == set(), file
    shown = {re.sub(r"_(total|bucket|sum|count)$", "", metric) for metric in used("grafana.json")}
    ours = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in names if name.startswith("dreambot_")}
    assert ours - shown == set()


def test_every_alert_says_what_to_do() -> None:
    """A summary, an action and a severity."""
    for group in yaml.safe_load((DEPLOY / "alerts.yaml").read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]
            assert rule["labels"]["severity"] in ("page", "warn")


def test_containers_are_nobodys_root() -> None:
    """A user without rights, a read-only root, no capability, no open port, secrets in files."""
    compose: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    for name, service in compose["services"].items():
        assert int(service["user"].split(":")[0]) > 0, name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "privileged" not in service
        assert "ports" not in service
        tokens = {key: value for key, value in service["environment"].items() if "TOKEN" in key or "SECRET" in key}
        assert all(key.endswith("_FILE") for key in tokens)
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (\d+)", image, re.MULTILINE) == ["10001"]
    assert "--require-hashes" in image
    assert "ADD http" not in image


def test_settings_in_units_and_compose_exist() -> None:
    """Every DREAMBOT_ variable in deploy/ is a setting of the bot, the store or the engine."""
    known = {name.upper() for cls in (BotSettings, EngineSettings) for name in cls.model_fields}
    known |= {f"{name.upper()}_FILE" for name in BotSettings.secret}
    for file in (*UNITS, "compose.yaml", "Dockerfile", "alerts.yaml"):
        named = re.findall(r"DREAMBOT_([A-Z_]+)", (DEPLOY / file).read_text(encoding="utf-8"))
        assert set(named) - known == set(), file


@pytest.mark.long
def test_the_images_install_lines_work(tmp_path: Path) -> None:
    """What the Dockerfile copies is all that the package needs: it installs, and its commands are found."""
    source = tmp_path / "dreambot"
    source.mkdir()
    for line in (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY ") and "/build/dreambot" in line:
            *paths, _ = line.split()[1:]
            for path in paths:
                place = ROOT / path
                if place.is_dir():
                    shutil.copytree(place, source / path, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(place, source)
    target = str(tmp_path / "target")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", target, str(source)], check=True)
    environ = {"PYTHONPATH": target, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [sys.executable, "-P", "-m", "bot.cli", "--help"]
    told = subprocess.run(command, env=environ, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "dream" in told.stdout
    assert (Path(target) / "engine" / "packs" / "embedded.toml").is_file()
