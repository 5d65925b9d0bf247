#!/bin/sh
# Depth metrics over up to 500 frames: eval_500.sh PREDICTIONS BENCHMARK [arguments of eval.py]
exec sh "$(dirname "$0")/evaluate.sh" "$0" eval.py "scannet_500 kitti_500 bonn_500 nyuv2_500" "$@"
