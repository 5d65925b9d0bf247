#!/usr/bin/env bash
# Downloads the public checkpoints into checkpoints/ beside this script: `vda weights` where Python and this project's
# requirements are installed, curl and sha256sum or shasum elsewhere. `bash get_weights.sh --help` lists the arguments.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$here/checkpoints

for python in "${PYTHON:-}" "$here/.venv/bin/python" python3 python; do
  command -v "$python" >/dev/null || continue
  export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
  if "$python" -c 'import filelock, tqdm, video_depth_anything.cli.weights' 2>/dev/null; then
    exec "$python" -m video_depth_anything.cli.weights --folder "$folder" --yes "$@"
  fi
done

need="either Python 3.10 with 'pip install filelock tqdm', or curl and sha256sum or shasum"
if ! command -v curl >/dev/null; then echo "get_weights.sh needs $need" >&2 && exit 2; fi
if command -v sha256sum >/dev/null; then sum=(sha256sum); else sum=(shasum -a 256); fi
if ! command -v "${sum[0]}" >/dev/null; then echo "get_weights.sh needs $need" >&2 && exit 2; fi

fetch() { # NAME
  local encoder=${1#metric_} prefix='' metric=False status=0 size sha file address
  if [ "$encoder" != "$1" ]; then prefix=Metric- metric=True; fi
  case $encoder in vits) size=Small ;; vitb) size=Base ;; vitl) size=Large ;; *) size='' ;; esac
  sha=$(sed -n "s/^ *Weights(\"$encoder\", $metric, .*\"\([0-9a-f]*\)\"),\$/\1/p" "$here/video_depth_anything/weights.py")
  if [ -z "$size" ] || [ -z "$sha" ]; then
    echo "unknown name '$1'; without Python only these are known: vits vitb vitl, each with metric_ before it, and all" >&2
    return 1
  fi
  file=$folder/${prefix:+metric_}video_depth_anything_$encoder.pth
  address=${HF_ENDPOINT:-https://huggingface.co}/depth-anything/${prefix}Video-Depth-Anything-$size/resolve/main/${file##*/}
  if [ -f "$file" ]; then echo "$1: already there: $file" && return 0; fi
  echo "$1: downloading $address (licence: $([ "$size" = Small ] && echo Apache-2.0 || echo 'CC-BY-NC-4.0, non-commercial'))"
  curl -fL -C - --retry 3 --connect-timeout 20 --speed-limit 1 --speed-time 30 -o "$file.part" "$address" || status=$?
  [ -f "$file.part" ] || return 1
  if [ "$("${sum[@]}" <"$file.part")" = "$sha  -" ]; then
    mv -f "$file.part" "$file" && echo "$1: done: $file (SHA-256 verified)"
    return
  fi
  # 33: the server cannot continue a file. After any other failure the next run continues it.
  case $status in 0 | 33) rm -f "$file.part" && echo "$1: $address is not the expected file; removed" >&2 ;; esac
  return 1
}

mkdir -p "$folder"
failed=0
case " $* " in '  ') set -- vits vitl ;; *' all '*) set -- vits metric_vits vitb metric_vitb vitl metric_vitl ;; esac
for name in "$@"; do fetch "$name" || failed=1; done
exit "$failed"
