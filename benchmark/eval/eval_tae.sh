#!/bin/sh
# Temporal alignment error on ScanNet: eval_tae.sh PREDICTIONS BENCHMARK [arguments of eval_tae.py]
exec sh "$(dirname "$0")/evaluate.sh" "$0" eval_tae.py scannet "$@"
