"""A network's moving average, kept beside it in the checkpoint: what is exported.

It knows tensors. It does not know what they do.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Slow:
    """The slow copy of a network's state; young averages move faster, so that first weights are forgotten."""

    def __init__(self, network: nn.Module, keep: float) -> None:
        self.network, self.keep = network, keep
        self.average = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """One step towards the network as it is now."""
        keep = min(self.keep, (1 + step) / (10 + step))
        state = self.network.state_dict()
        torch._foreach_lerp_([self.average[name] for name in state], list(state.values()), 1 - keep)

    def state_dict(self) -> dict[str, Tensor]:
        """For the keeper."""
        return self.average

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """For the keeper."""
        for name, value in state.items():
            self.average[name].copy_(value)
