"""What goes wrong on demand: each fault is armed for a method and a number of calls."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = frozenset({"429", "503", "502_after_store", "cut_after_store", "never_ready", "slow", "error", "expired_url"})


@dataclass
class Fault:
    """One kind of trouble."""

    kind: str
    method: str
    times: int = 1
    seconds: float = 1.0  # of Retry-After, or of slowness
    error: str = "internal_error"


class Faults:
    """The armed ones."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []

    def arm(self, fault: Fault) -> None:
        """From now on."""
        if fault.kind not in KINDS:
            raise ValueError(fault.kind)
        self._armed.append(fault)

    def take(self, method: str, *kinds: str) -> Fault | None:
        """The first armed fault of a method, used up by one."""
        for fault in self._armed:
            if fault.method == method and fault.kind in kinds and fault.times > 0:
                fault.times -= 1
                return fault
        return None
