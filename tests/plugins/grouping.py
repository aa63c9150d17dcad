"""Classes that group their parameters in the ways in which classes do."""

import torch


class Layered(torch.optim.AdamW):
    """Matrices at the rate and decay that it is given, vectors at a quarter and 0.02, the widest matrix at 3e-4."""

    def __init__(self, params, lr=2e-3, weight_decay=0.3):
        params = list(params)
        widest = max(params, key=torch.Tensor.numel)
        matrices = [p for p in params if p.ndim == 2 and p is not widest]
        groups = [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": [p for p in params if p.ndim < 2], "lr": 0.25 * lr, "weight_decay": 0.02},
            {"params": [widest], "lr": 3e-4, "weight_decay": weight_decay},
        ]
        super().__init__(groups, lr=lr)


class Plain(torch.optim.Optimizer):
    """Gradient descent with decoupled decay: `rate` of a group, or its lr; its weight_decay, wd or decay."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            decay = next((group[key] for key in ("weight_decay", "wd", "decay") if key in group), 0.0)
            for p in group["params"]:
                p.mul_(1 - group["lr"] * decay).sub_(p.grad, alpha=group["lr"])


class ByWd(Plain):
    def __init__(self, params, lr=1e-3, wd=0.7):
        super().__init__(params, {"lr": lr, "wd": wd})


class ByDecay(Plain):
    """Takes `decay`, which its vectors have not."""

    def __init__(self, params, decay, lr=1e-3):
        params = list(params)
        vectors = {"params": [p for p in params if p.ndim < 2], "lr": 3 * lr, "decay": 0.0}
        super().__init__([{"params": [p for p in params if p.ndim > 1]}, vectors], {"lr": lr, "decay": decay})


class Open(Plain):
    """Takes any argument, and puts it into its group."""

    def __init__(self, params, lr=1e-3, **options):
        super().__init__(params, {"lr": lr, "weight_decay": 0.01, **options})


class Hard(Plain):
    def __init__(self, params, lr=1e-3):
        params = list(params)
        first = {"params": params[:2], "weight_decay": 0.1}
        super().__init__([first, {"params": params[2:], "weight_decay": 0.03, "lr": lr / 2}], {"lr": lr})


class Bare(Plain):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, {"lr": lr})


class Strict(torch.optim.Optimizer):
    """Momentum for one group, Adam for the other; groups may have no other keys than these, as those of Muon with an
    auxiliary Adam (https://github.com/KellerJordan/Muon)."""

    def __init__(self, param_groups):
        for group in param_groups:
            usual = (
                {"lr": 0.02, "momentum": 0.95}
                if group["use_muon"]
                else {"lr": 3e-4, "betas": (0.9, 0.95), "eps": 1e-10}
            )
            group |= {**usual, "weight_decay": 0.0, **group}
            assert group.keys() == {"params", "use_muon", "weight_decay", *usual}
        super().__init__(param_groups, {})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                self.move(p, group, self.state[p])

    def move(self, p, group, state):
        if group["use_muon"]:
            grad = p.grad.add(p, alpha=group["weight_decay"])
            state["m"] = group["momentum"] * state["m"] + grad if state else grad.clone()
            p.sub_(state["m"], alpha=group["lr"])
            return
        (first, second), step = group["betas"], state.get("step", 0) + 1
        m = first * state.get("m", 0) + (1 - first) * p.grad
        v = second * state.get("v", 0) + (1 - second) * p.grad.square()
        state.update(step=step, m=m, v=v)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.sub_(group["lr"] * (m / (1 - first**step)) / ((v / (1 - second**step)).sqrt() + group["eps"]))


class Algorithmic(Plain):
    """Tells its groups apart by another key: gradient descent for one, its sign for the other."""

    def __init__(self, params, lr=0.02, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "algorithm": "muon"})

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = {"muon": p.grad, "adamw": p.grad.sign()}[group["algorithm"]]
        super().step()


class Named(Plain):
    """Leaves the query matrices, which it knows by their names."""

    def __init__(self, named_parameters, lr=1e-3):
        self.names = [name for name, _ in named_parameters]
        super().__init__([p for name, p in named_parameters if "q_proj" not in name], {"lr": lr})


class OfModel(Plain):
    def __init__(self, model, lr=1e-3):
        assert isinstance(model, torch.nn.Module)
        self.names = [name for name, _ in model.named_parameters()]
        super().__init__([*model.layers.parameters()], {"lr": lr})


class Spread(Plain):
    """Divides the gradient's sum over devices by their number."""

    def __init__(self, params, lr=1e-3):
        super().__init__(params, {"lr": lr / torch.distributed.get_world_size()})

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                torch.distributed.all_reduce(p.grad)
        super().step()
