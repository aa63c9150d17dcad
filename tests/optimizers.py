"""Optimizers of other packages through the front door, as a page: `python -m tests.optimizers > reports/optimizers.md`.

It reads what `COMMAND` has trained, and measures what a step of each costs.
"""

from __future__ import annotations

import shlex

OUT = "optimizers-results"
PACKAGE = "pytorch_optimizer"
DECOUPLED = {"weight_decouple": "true"}  # or the card's decay of 0.1 would be part of the gradient
# by name, what each needs beside its name, as `--set optimizer.KEY=VALUE` takes it
NEEDS: dict[str, dict[str, str]] = {
    "adamw": {},
    "torch.optim:AdamW": {},
    f"{PACKAGE}:Lion": {},
    f"{PACKAGE}:SOAP": {},
    f"{PACKAGE}:Shampoo": DECOUPLED,
    f"{PACKAGE}:AdEMAMix": DECOUPLED,
    f"{PACKAGE}:MARS": {},
    f"{PACKAGE}:AdaFactor": {},
    f"{PACKAGE}:ScheduleFreeAdamW": {},
    f"{PACKAGE}:Prodigy": {},
    f"{PACKAGE}:ADOPT": DECOUPLED,
    f"{PACKAGE}:CAME": {},
    f"{PACKAGE}:Adan": DECOUPLED,
    f"{PACKAGE}:StableAdamW": {},
    f"{PACKAGE}:Kron": {},
    # its own default rate of the part that AdamW moves, over that of the rest: 3e-4 / 2e-2
    f"{PACKAGE}:Muon": {"routing": "hidden", "group": "{use_muon=true}", "aux_lr_ratio": "0.015"},
    "heavyball:AdamW": {"compile_step": "false"},
    "heavyball:Muon": {"compile_step": "false", "routing": "hidden"},
}
SETTINGS = " ".join(
    "--set " + shlex.quote(f'arguments."{name}".{key}={value}')
    for name, needs in NEEDS.items()
    for key, value in needs.items()
)
COMMAND = f"run quick --optimizer {','.join(NEEDS)} --seeds 1 --update full {SETTINGS} --out {OUT}"
if __name__ == "__main__":
    print(COMMAND)
