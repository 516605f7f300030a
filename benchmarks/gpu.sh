#!/bin/sh
# All that needs a GPU, in one go, on a machine that may have no network: tests/gpu and the rows of
# `benchmarks/run.py` that only a GPU can judge. Prints a table last; everything goes into $OUT.
#
#   make gpu                                # here, on a machine with a GPU
#   make gpu-wheels                         # fetches what a bare machine with torch lacks
#   OUT=/tmp/out sh benchmarks/gpu.sh       # there: tests, rows, profile (at most 9 minutes)
#   sh benchmarks/gpu.sh step train         # these parts alone
#   sh benchmarks/gpu.sh accuracy           # eight minutes of training, a run of its own
#
# Where OUT is given, the parts' files come into it as one archive, gpu.tgz: what brings them home may
# count them. accuracy leaves its own there: curve.json and the weights, in parts.
#
# Parts: tests step forward choices train pictures profile accuracy. GPU_DATA names a folder with
# ICDAR2015's pictures (train/ and test/); rendered scenes stand in for them elsewhere.
set -u
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
out=${OUT:-gpu-results}
data=${GPU_DATA:-.gpu/data}
minutes=${GPU_MINUTES:-8}
work=$out
[ -n "${OUT:-}" ] && work=${TMPDIR:-/tmp}/ocdnet-gpu
mkdir -p "$out" "$work"
wheels=${GPU_WHEELS:-.gpu/wheels}
if [ -d "$wheels" ]; then
    site=/tmp/ocdnet-site
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target $site "$wheels"/*.whl || exit
    export PYTHONPATH="$site:$PWD/runtime:$PWD/generator"
else
    export PYTHONPATH="$PWD/runtime:$PWD/generator"
fi
export PYTHONUNBUFFERED=1
[ -d "$data" ] && export OCDNET_BENCH_DATA="$data"

# A part has its own process and limit: what fails or hangs costs the others nothing. A training
# takes SIGTERM as a wish, so SIGKILL follows.
limited() {
    seconds=$1
    shift
    timeout -k 5 "$seconds" "$@"
}

rows() {
    limited "$1" "$python" benchmarks/run.py --only "gpu_$2" --rounds "${GPU_ROUNDS:-4}" \
        --json "$work/$2.json" 2>&1 | tee "$work/$2.log"
}

part() {
    case $1 in
    tests)
        # In several processes where pytest-xdist is: most of the time is start-up.
        workers=$("$python" -c "import xdist; print('-n 6')" 2>/dev/null)
        # shellcheck disable=SC2086
        limited 150 "$python" -m pytest tests/gpu -m gpu $workers -rs --durations=8 \
            -p no:cacheprovider 2>&1 | tee "$work/tests.log" | tail -60
        ;;
    step) rows 60 step ;;
    forward) rows 40 forward ;;
    choices) rows 120 choices ;;
    train) rows 60 train ;;
    pictures) rows 50 pictures ;;
    profile)
        limited 40 "$python" -c "import sys, pathlib; sys.path.insert(0, 'benchmarks')
from rows import cuda
cuda.profile(pathlib.Path('$work'))" 2>&1 | tee "$work/profile.log"
        ;;
    accuracy)
        limited $((minutes * 60 + 30)) "$python" benchmarks/accuracy.py train "$data" \
            --minutes "$minutes" --out "$out" 2>&1 | tee "$work/accuracy.log" | tail -60
        ;;
    *)
        echo "no such part: $1 (see the top of $0)" >&2
        exit 2
        ;;
    esac
}

[ $# -gt 0 ] || set -- step forward train pictures choices profile tests
for name in "$@"; do
    echo "== $name, $(date +%H:%M:%S)"
    part "$name"
    [ "$work" = "$out" ] || tar czf "$out/gpu.tgz" -C "$work" .
done
echo "== the table, $(date +%H:%M:%S)"
set -- "$work"/*.json
if [ -f "$1" ]; then
    "$python" benchmarks/run.py --table "$@"
else
    echo "no row was measured (is there a GPU?)"
fi
