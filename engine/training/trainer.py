"""One simultaneous step of generator and critic, and the state that a run must carry across a kill.

It knows both networks, their optimisers and the recipe. It does not know the clock, the disk or the command line.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from engine.generators.embedded import Shape
from engine.training import gan
from engine.training.augment import Strength, augment, draw
from engine.training.centres import Centres
from engine.training.critic import Critic
from engine.training.features import CHANNELS, Features, MobileNet
from engine.training.photographs import Photographs, look_logits
from engine.training.recipe import Phase, Recipe


@dataclass(frozen=True, slots=True)
class Drawn:
    """One batch's chance: rows of the embedding, photographs, latents, and both sides' augmented pictures."""

    labels: Tensor
    fakes: Tensor
    fakes_seen: Tensor
    reals: Tensor
    reals_seen: Tensor


class Trainer:
    """Both networks and everything that a step changes."""

    def __init__(self, shape: Shape, recipe: Recipe, net: MobileNet, photographs: Photographs) -> None:
        torch.manual_seed(recipe.seed)  # the networks' first weights; every later draw has its own source
        self.recipe, self.net, self.photographs = recipe, net, photographs
        self.generator = gan.new_generator(shape).to(net.device)
        self.slow = gan.new_generator(shape).to(net.device).requires_grad_(False)
        self.slow.load_state_dict(self.generator.state_dict())
        self.critic = Critic(CHANNELS, shape.rows, recipe.seed).to(net.device)
        self.critic = self.critic.to(memory_format=torch.channels_last)
        self.adam_generator = _adam(self.generator, recipe)
        self.adam_critic = _adam(self.critic, recipe)
        self.centres = Centres(photographs, shape.rows)
        self.steps = self.shown = 0
        self._whiten()

    def step(self) -> dict[str, float]:
        """Show one batch; answers with the losses."""
        phase = self.recipe.phase(self.shown)
        for adam in (self.adam_generator, self.adam_critic):
            adam.param_groups[0]["lr"] = self.recipe.rate(self.shown)
        source = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.steps)
        with torch.autocast(self.net.device.type, self.net.dtype, enabled=self.net.dtype == torch.bfloat16):
            losses = self._learn(phase, self._draw(phase, source))
        self.steps += 1
        self.shown += self.recipe.batch
        if self.steps % self.recipe.average_every == 0:
            moved = self.recipe.batch * self.recipe.average_every
            half_life = min(self.recipe.half_life, max(1, self.shown // 4))
            gan.average(self.slow, self.generator, 0.5 ** (moved / half_life))
        return losses

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "generator": self.generator.state_dict(),
            "slow": self.slow.state_dict(),
            "critic": self.critic.state_dict(),
            "adam_generator": self.adam_generator.state_dict(),
            "adam_critic": self.adam_critic.state_dict(),
            "centres": self.centres.state_dict(),
            "steps": self.steps,
            "shown": self.shown,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Take a checkpoint up again."""
        for name in ("generator", "slow", "critic", "adam_generator", "adam_critic"):
            getattr(self, name).load_state_dict(state[name])
        if "centres" in state:
            self.centres.load_state_dict(state["centres"])
        self.steps, self.shown = int(state["steps"]), int(state["shown"])

    def begin(self, generator: dict[str, Tensor]) -> None:
        """Start with a generator that is trained already; its critic is new (`critic_first` in the recipe)."""
        for network in (self.generator, self.slow):
            network.load_state_dict(generator)

    def _draw(self, phase: Phase, source: torch.Generator) -> Drawn:
        device, count = self.net.device, self.recipe.batch
        rows = torch.randint(len(self.photographs.counts), (count // 2,), generator=source).to(device)
        labels = torch.cat([rows, rows])
        reals = self.photographs.pairs(rows, source)
        z = torch.randn(count, self.recipe.dim_z, generator=source).to(device)
        strength = Strength(phase.translate, phase.cutout, phase.cutout_share, phase.colour, phase.colour_share)
        fakes = self.generator(z, self.generator.embed(labels))
        ours, theirs = (draw(strength, count, source, device) for _ in range(2))
        side = self.recipe.side
        return Drawn(labels, fakes, augment(fakes, ours, side), reals, augment(reals, theirs, side))

    def _learn(self, phase: Phase, drawn: Drawn) -> dict[str, float]:
        with torch.no_grad():
            real = self.net((drawn.reals_seen + 1) / 2)
            real_mixed = self.critic.mixing(real.maps)
        seen = self.net((drawn.fakes_seen + 1) / 2)
        leaves = [leaf.detach().requires_grad_() for leaf in (*seen.maps, seen.pooled, seen.logits)]
        pixels = drawn.fakes.detach().requires_grad_()
        fake = Features((leaves[0], leaves[1], leaves[2], leaves[3]), leaves[4], leaves[5])
        with parametrize.cached():
            mixed = self.critic.mixing(fake.maps)
            fake_logits = self.critic.judge(mixed, drawn.labels, phase.apart)
            real_logits = self.critic.judge(real_mixed, drawn.labels, phase.apart)
            if phase.pixel:
                fake_logits.append(self.critic.look(pixels, drawn.labels, phase.apart))
                real_logits.append(self.critic.look(drawn.reals, drawn.labels, phase.apart))
            wanted, losses = self._wanted(phase, drawn, pixels, fake, mixed, fake_logits, real, real_mixed)
            flows = torch.autograd.grad(wanted, [*leaves, pixels], retain_graph=True, allow_unused=True)
            critic_loss = gan.hinge_critic(real_logits, fake_logits)
            self.adam_critic.zero_grad()
            torch.autograd.backward(critic_loss, inputs=self._used(phase))
        self.adam_critic.step()
        if self.shown < self.recipe.critic_first:
            return {**losses, "critic": float(critic_loss.detach())}
        self.adam_generator.zero_grad()
        outputs = [*seen.maps, seen.pooled, seen.logits, drawn.fakes]
        pairs = [(out, flow) for out, flow in zip(outputs, flows, strict=True) if flow is not None]
        torch.autograd.backward([out for out, _ in pairs], [flow for _, flow in pairs])
        self.adam_generator.step()
        return {**losses, "critic": float(critic_loss.detach())}

    def _used(self, phase: Phase) -> list[Tensor]:
        """The critic's weights that this phase's heads use."""
        idle = () if phase.pixel else tuple(self.critic.pixel.parameters())
        return [weight for weight in self.critic.parameters() if not any(weight is other for other in idle)]

    def _wanted(
        self,
        phase: Phase,
        drawn: Drawn,
        pixels: Tensor,
        fake: Features,
        mixed: list[Tensor],
        logits: list[Tensor],
        real: Features,
        real_mixed: list[Tensor],
    ) -> tuple[Tensor, dict[str, float]]:
        """The generator's loss on detached features."""
        classes = torch.div(drawn.labels, self.recipe.variants, rounding_mode="floor")
        identity = functional.cross_entropy(fake.logits[:, self.photographs.outputs], classes)
        look = functional.cross_entropy(look_logits(fake.pooled, self.photographs.probe), drawn.labels)
        spread = gan.diversity(_compared(mixed, fake, pixels), _compared(real_mixed, real, drawn.reals))
        fooled = gan.hinge_generator(logits[:4])
        if phase.pixel:
            fooled = fooled + phase.pixel * gan.hinge_generator(logits[4:])
        pull = self.centres.pull(drawn.labels, fake.pooled, real.pooled)
        total = (
            fooled + phase.centre * pull + phase.identity * identity + phase.look * look + phase.diversity * spread.loss
        )
        named = {
            "fooled": fooled,
            "identity": identity,
            "look": look,
            "spread": spread.seen,
            "spread_pixels": spread.pixels,
        }
        return total, {name: float(value.detach()) for name, value in named.items()}

    @torch.no_grad()
    def _whiten(self) -> None:
        source = torch.Generator().manual_seed(self.recipe.seed)
        rows = torch.randint(len(self.photographs.counts), (64,), generator=source).to(self.net.device)
        plain = Strength(0.0, 0.0, 0.0, 0.0, 0.0)
        pictures = self.photographs.pairs(rows, source)
        seen = augment(pictures, draw(plain, len(pictures), source, self.net.device), self.recipe.side)
        self.critic.mixing.measure(self.net((seen + 1) / 2).maps)


def _adam(network: nn.Module, recipe: Recipe) -> torch.optim.Adam:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    return torch.optim.Adam(weights, lr=recipe.rate(0), betas=recipe.betas, fused=True)


def _compared(mixed: list[Tensor], seen: Features, pictures: Tensor) -> list[Tensor]:
    """By what two pictures of a row must differ: layouts at three scales and in pixels, and the pooled feature."""
    small = functional.avg_pool2d(pictures, 8)
    return [*(gan.layout(x) for x in mixed[1:]), seen.pooled, gan.layout(small)]
