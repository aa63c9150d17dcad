"""Eight models at eight learning rates, trained at once: each learns to repeat four tokens."""

import torch

from synthbench import Fleet

rates = [2.0**-k for k in range(4, 12)]
fleet = Fleet("tiny", vocabulary=32, length=8, seeds=[0] * 8)
fleet.set_optimizer("muon", lr=rates)
for _ in range(300):
    half = torch.randint(32, (64, 4))
    losses = fleet.step(torch.cat([half, half], dim=1), answers=torch.arange(8).expand(64, 8) >= 4)
print(*(f"lr {rate:<12g} loss {loss:.3f}" for rate, loss in zip(rates, losses.tolist(), strict=True)), sep="\n")
