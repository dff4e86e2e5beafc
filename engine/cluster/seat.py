"""A seat is one engine's place in the cluster; here is what is known of who sits there. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitter:
    """An engine process, in the words of its own machine."""

    node: str  # the address by which the cluster knows the host
    host: str
    boot: str
    pid: int

    def owns(self, owner: str) -> bool:
        """Whether an owner of leases, `host:boot:pid:random`, is this process."""
        return owner.startswith(f"{self.host}:{self.boot}:{self.pid}:")
