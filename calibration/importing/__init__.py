"""Turn a `torch.nn.Module` into a model file: capture its graph, recognise its calls, tidy the result."""
