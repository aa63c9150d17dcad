"""The plain way beside the fleets: one `nn.Module` under `torch.optim`, and where a fleet's member parts from it."""
