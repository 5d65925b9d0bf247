#!/bin/sh
# Temporal alignment error on ScanNet: eval_tae.sh PREDICTIONS BENCHMARK [arguments of eval_tae.py]
set -eu
if [ $# -lt 2 ]; then echo "usage: $0 PREDICTIONS BENCHMARK [arguments of eval_tae.py]" >&2; exit 2; fi
predictions=$1 benchmark=$2
shift 2
exec "${PYTHON:-python3}" "$(dirname "$0")/eval_tae.py" --infer_path "$predictions" --benchmark_path "$benchmark" \
    --datasets scannet --start_idx 10 --end_idx 180 --eval_scenes_num 20 --hard_crop "$@"
