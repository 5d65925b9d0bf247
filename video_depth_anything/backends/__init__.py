"""What computes the network: PyTorch, compiled, OpenVINO, and a recorded CUDA graph."""
