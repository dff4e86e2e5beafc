"""What a cluster is started from: compose and KubeRay manifests, read offline. Nothing here has seen a cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bot.settings import BotSettings
from engine.settings import EngineSettings
from storage.settings import variable
from tests.readme_map import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.cluster.yaml").read_text(encoding="utf-8"))
KUBERAY: dict[str, Any] = {
    one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text(encoding="utf-8"))
}
RAY_SERVICES, OURS = ("head", "node"), ("bot", "head", "node")


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod's name and specification."""
    cluster = KUBERAY["RayCluster"]["spec"]
    yield "head", cluster["headGroupSpec"]["template"]["spec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group["template"]["spec"]
    yield "bot", KUBERAY["Deployment"]["spec"]["template"]["spec"]


def environ(container: dict[str, Any]) -> dict[str, Any]:
    """A container's variables: their value, or where it comes from."""
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


@pytest.mark.parametrize("name", RAY_SERVICES)
def test_compose_starts_ray_with_a_token_only(name: str) -> None:
    """By our own command, which refuses without a token; the token is a secret file; nothing is reported."""
    service = COMPOSE["services"][name]
    assert service["command"][:3] == ["dreambot", "cluster", "up"]
    assert service["environment"]["RAY_AUTH_MODE"] == "token"
    assert service["environment"]["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_token"
    assert "ray_token" in service["secrets"]
    assert service["environment"]["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.parametrize("name", OURS)
def test_compose_gives_little_away(name: str) -> None:
    """Nobody's root, read-only, no capability, no port of ours; one store and one place of pictures for all."""
    service = COMPOSE["services"][name]
    assert int(service["user"].split(":")[0]) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "ports" not in service
    assert service["environment"]["DREAMBOT_STORE"].startswith("${DREAMBOT_STORE:?")
    assert service["environment"]["DREAMBOT_IMAGES"].startswith("file:///")
    assert all(secret in COMPOSE["secrets"] for secret in service.get("secrets", ()))


def test_the_database_listens_on_the_private_address_alone() -> None:
    """Its one port is bound to the address that must be given, and its password is a file."""
    database = COMPOSE["services"]["postgresql"]
    assert [re.match(r"\$\{HOST_ADDRESS:\?[^}]*\}:5432:5432$", port) is not None for port in database["ports"]] == [
        True
    ]
    assert "POSTGRES_PASSWORD" not in database["environment"]


def test_kuberay_is_whole() -> None:
    """The kinds, versions and selectors that belong together; every volume that is mounted is there."""
    assert KUBERAY.keys() == {"PersistentVolumeClaim", "RayCluster", "Deployment", "NetworkPolicy"}
    cluster, lock = KUBERAY["RayCluster"], (DEPLOY / "requirements-ray.lock").read_text(encoding="utf-8")
    assert cluster["apiVersion"] == "ray.io/v1"
    assert f"ray=={cluster['spec']['rayVersion']} " in lock
    selected = KUBERAY["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    assert selected == {"ray.io/cluster": cluster["metadata"]["name"]}
    for name, pod in pods():
        there = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= there, name


def test_kuberay_needs_the_token_and_shows_no_dashboard() -> None:
    """Each of Ray's containers reads the token from the secret; the dashboard is off, and nothing asks it."""
    cluster = KUBERAY["RayCluster"]["spec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["include-dashboard"] == "false"
    for name, pod in pods():
        if name == "bot":
            continue
        (secret,) = (volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume)
        assert secret == "dreambot-ray"
        for container in pod["containers"]:
            told = environ(container)
            assert told["RAY_AUTH_MODE"] == "token"
            assert told["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray/token"
            assert told["RAY_USAGE_STATS_ENABLED"] == "0"
        assert "exec" in pod["containers"][0]["livenessProbe"]


def test_kubernetes_gives_little_away() -> None:
    """Nobody's root, read-only, no capability, no account's token; no port is opened; secrets are no text."""
    for name, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "ports" not in container
            told = environ(container)
            assert "secretKeyRef" in told["DREAMBOT_STORE"]
            assert all(key.endswith(("_FILE", "_PATH")) for key in told if "TOKEN" in key or "SECRET" in key)


def test_a_worker_is_one_engine() -> None:
    """A worker pod has one GPU, and says so to Ray; the head draws nothing."""
    cluster = KUBERAY["RayCluster"]["spec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-gpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert str(limits["nvidia.com/gpu"]) == group["rayStartParams"]["num-gpus"] == "1"


@pytest.mark.parametrize("name", ["compose.cluster.yaml", "kuberay.yaml"])
def test_every_setting_exists(name: str) -> None:
    """Each DREAMBOT_ variable is a setting of the bot, the store or the engine."""
    known = {variable(field) for cls in (BotSettings, EngineSettings) for field in cls.model_fields}
    known |= {f"{variable(field)}_FILE" for field in BotSettings.secret}
    named = re.findall(r"DREAMBOT_[A-Z_]+", json.dumps(COMPOSE if "compose" in name else KUBERAY))
    assert set(named) - known == set()


def test_the_image_can_have_ray() -> None:
    """Ray comes from its own hashed lock, and only where it is asked for."""
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r'\[ -z "\$WITH_RAY" \] \|\| .*--require-hashes -r /build/requirements-ray.lock', image)
