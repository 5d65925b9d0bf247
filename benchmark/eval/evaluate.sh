#!/bin/sh
# What the other scripts here have in common: evaluate.sh NAME SCRIPT "SETS" PREDICTIONS BENCHMARK [arguments of SCRIPT]
set -eu
name=$1 script=$2 sets=$3
shift 3
if [ $# -lt 2 ]; then echo "usage: $name PREDICTIONS BENCHMARK [arguments of $script]" >&2; exit 2; fi
predictions=$1 benchmark=$2
shift 2
# Unquoted: each set is a word of its own.
exec "${PYTHON:-python3}" "$(dirname "$0")/$script" --infer_path "$predictions" --benchmark_path "$benchmark" \
    --datasets $sets "$@"
