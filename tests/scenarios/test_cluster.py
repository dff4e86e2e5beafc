"""A real cluster on loopback addresses: who may join it, what ends with it, and what its deaths cost. Needs Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import UserError
from tests.postgres import Server
from tests.scenarios.cluster import FAKE, HEAD, NODE, Cluster, descendants, open_cluster, storm

pytest.importorskip("ray", reason="no Ray: `deploy/test --ray` installs it")


def dreambot(cluster: Cluster, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """One command of ours, to its end."""
    command = [sys.executable, "-m", *words]
    told = cluster.house.environ | environ
    return subprocess.run(command, env=told, capture_output=True, text=True, check=False, timeout=120)


async def test_a_wrong_token_is_refused_and_down_ends_what_up_started(tmp_path: Path) -> None:
    """Whoever has another token neither joins nor looks; `down` ends its own processes, every one, and no other."""
    async with open_cluster(tmp_path / "home", **FAKE) as cluster:
        await cluster.staffed(2)
        head = f"--join={HEAD}:{cluster.port}"
        for words in (("bot.cli", "cluster", "up", head), ("engine.cluster", "nodes", head)):
            stranger = dreambot(cluster, *words, RAY_AUTH_TOKEN="f" * 64, DREAMBOT_HOME=str(tmp_path / "other"))
            assert (stranger.returncode, stranger.stdout) == (2, "")
            assert stranger.stderr.count("\n") == 1
            assert "token" in stranger.stderr
            assert "f" * 64 not in stranger.stderr
        known = json.loads(dreambot(cluster, "engine.cluster", "nodes", head).stdout)
        assert sorted((node["address"], node["state"]) for node in known) == [(HEAD, "alive"), (NODE, "alive")]
        told = json.loads(dreambot(cluster, "bot.cli", "cluster", "status", "--json").stdout)
        assert [seat["state"] for seat in told["seats"]] == ["runs", "runs"]
        assert {seat["node"] for seat in told["seats"]} == {HEAD, NODE}
        assert len(told["engines"]) == 2
        theirs = {pid for part in cluster.parts.values() for pid in descendants(part.pid)}
        bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "raylet"])
        ended = dreambot(cluster, "bot.cli", "cluster", "down")
        assert ended.returncode == 0, ended.stderr
        assert [part.wait(10) for part in cluster.parts.values()] == [0, 0]
        assert [pid for pid in theirs if Path(f"/proc/{pid}/cmdline").exists()] == []
        assert bystander.poll() is None
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("environ", [{}, {"RAY_AUTH_MODE": "disabled"}])
def test_nothing_of_ray_is_touched_without_a_token(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever imports Ray refuses by itself, too, before it speaks to anybody."""
    from engine.cluster.head import nodes
    from engine.cluster.placement import RayPlacement

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for touch in (lambda: nodes(f"{HEAD}:1", 1.0), lambda: RayPlacement(f"{HEAD}:1")):
        with pytest.raises(UserError, match="RAY_AUTH_MODE=token"):
            touch()


@pytest.mark.long
@pytest.mark.parametrize("on_server", [False, True], ids=["sqlite", "postgresql"])
async def test_kills_lose_nothing(tmp_path: Path, on_server: bool, request: pytest.FixtureRequest) -> None:
    """An engine, a worker, a node, the controller and the head are killed: every dream completes once, told once."""
    environ = dict(FAKE)
    if on_server:
        server: Server = request.getfixturevalue("server")
        environ["DREAMBOT_STORE"] = server.store()
    kills = ["engine", "worker", "node", "controller", "head"]
    figures = await storm(tmp_path / "home", 120, 40, kills, environ)
    assert (figures["completed"], figures["not_completed_exactly_once"], figures["letters"]) == (120, 0, 120)
    assert [row["killed"] for row in figures["kills"]] == kills
