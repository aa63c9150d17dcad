"""A second way to train, one `nn.Module` under `torch.optim`, and the checks of optimizers, tasks and runs against it."""
