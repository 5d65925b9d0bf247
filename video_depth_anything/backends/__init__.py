"""The network's backends: PyTorch, torch.compile, OpenVINO, and recorded CUDA graphs."""
