#!/bin/sh
# Depth metrics over up to 500 frames: eval_500.sh PREDICTIONS BENCHMARK [arguments of eval.py]
set -eu
if [ $# -lt 2 ]; then echo "usage: $0 PREDICTIONS BENCHMARK [arguments of eval.py]" >&2; exit 2; fi
predictions=$1 benchmark=$2
shift 2
exec "${PYTHON:-python3}" "$(dirname "$0")/eval.py" --infer_path "$predictions" --benchmark_path "$benchmark" \
    --datasets scannet_500 kitti_500 bonn_500 nyuv2_500 "$@"
