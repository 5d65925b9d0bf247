#!/bin/sh
# Depth metrics over 110 frames (Sintel 50, ScanNet 90): eval.sh PREDICTIONS BENCHMARK [arguments of eval.py]
exec sh "$(dirname "$0")/evaluate.sh" "$0" eval.py "sintel kitti bonn scannet" "$@"
