"""The original's name for `benchmark.eval.tensor_metrics`, where the functions are."""

from benchmark.eval.tensor_metrics import *  # noqa: F403
