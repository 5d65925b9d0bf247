#!/usr/bin/env bash
# Test everything on an NVIDIA GPU, then measure it: one command, under 8 minutes, no network.
#
#   bash benchmark/speed/gpu.sh [FLAGS of benchmark/speed/roofline.py] | tee gpu.md
#
# Needs this repository, whole, and a Python with a PyTorch built for CUDA, numpy, opencv-python-headless, pillow,
# tqdm, filelock and pytest; PYTHON=... names it. For --compile, which is tested too: Triton and a C compiler. With
# pytest-timeout a test that hangs ends sooner. Exit code: that of the tests if they fail, else that of the tables.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  [ -x .venv/bin/python ] && PYTHON=.venv/bin/python
fi
"$PYTHON" - <<'CHECK' || exit 2
import importlib.util, sys

packages = {"torch": "torch", "numpy": "numpy", "cv2": "opencv-python-headless", "PIL": "pillow", "tqdm": "tqdm",
            "filelock": "filelock", "pytest": "pytest"}
missing = [name for module, name in packages.items() if importlib.util.find_spec(module) is None]
if missing:
    sys.exit(f"error: {sys.executable} lacks {', '.join(missing)}; run `pip install {' '.join(missing)}` for it")
import torch

if not torch.cuda.is_available():
    sys.exit("error: this PyTorch sees no NVIDIA GPU: none is here, its driver is missing, or it was built without CUDA")
CHECK
export PYTHONDONTWRITEBYTECODE=1
echo "# Tests on the GPU"
echo
timeout --signal INT --kill-after 10 280 "$PYTHON" -m pytest --verbose --require-cuda -m needs_cuda \
  -p no:cacheprovider tests/test_cuda.py tests/test_cuda_commands.py
tests=$?
[ "$tests" = 124 ] && echo "error: the tests took longer than 280 seconds"
echo
echo "# Speed on the GPU"
echo
timeout --kill-after 10 180 "$PYTHON" benchmark/speed/roofline.py --device cuda --encoders vits vitb vitl \
  --input_sizes 280 518 --variants torch:fp16 --side 8192 --kernel_seconds 0.05 --seconds 150 "$@"
tables=$?
[ "$tests" = 0 ] || exit "$tests"
exit "$tables"
