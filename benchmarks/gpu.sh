#!/usr/bin/env bash
# What is to be done on a machine with a GPU, offline, in two calls of under ten minutes each:
#   bash benchmarks/gpu.sh FOLDER check   the machine, CPU parity, finite differences, bits; then the tests
#   bash benchmarks/gpu.sh FOLDER time    the machine, and the benchmark beside PyTorch's cuDNN
# Everything is done in a temporary folder; after each part its tables come to FOLDER, at most eight files of both calls.
# A part that fails or takes too long does not keep the next one from running; the exit status is 1 then.
set -u
usage() {
    echo "usage: bash benchmarks/gpu.sh FOLDER check|time" >&2
    exit 2
}
[ $# -eq 2 ] || usage
case $2 in check | time) what=$2 ;; *) usage ;; esac
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
total=570 # seconds
work=${TMPDIR:-/tmp}/numbarnn-gpu # kept: on a machine that is still warm the second call finds the kernels
mkdir -p "$work/$what" "$work/kernels" || exit 2
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 NUMBARNN_GPU=1
export OMP_WAIT_POLICY=PASSIVE NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS=0
export NUMBA_CACHE_DIR=${NUMBA_CACHE_DIR:-$work/kernels}
unset NUMBA_ENABLE_CUDASIM
failed=0
SECONDS=0

# Packages brought along, for a machine without any: only where they are needed, and only if a trial has not ended the shell.
if ! "$python" -c 'import numba_cuda' 2>/dev/null && [ -f .gpu/env.sh ] && (. .gpu/env.sh) >/dev/null 2>&1; then
    . .gpu/env.sh
fi
# Numba finds the compiler's libraries, libnvvm before all, below CUDA_HOME.
if [ -z "${CUDA_HOME:-${CUDA_PATH:-}}" ]; then
    for folder in /usr/local/cuda /usr/local/cuda-1[0-9]*; do
        if [ -d "$folder/nvvm" ]; then
            export CUDA_HOME=$folder
            break
        fi
    done
fi

# Bring what there is so far to FOLDER: one archive with everything, and what is read first.
bring() {
    tar -C "$work/$what" -czf "$out/$what.tar.gz" . 2>/dev/null
    local name
    for name in "$what.log" gpu_check.md gpu.json gpu.md tests.log; do
        [ ! -f "$work/$what/$name" ] || cp "$work/$what/$name" "$out/"
    done
}

# part NAME LIMIT COMMAND ...: run a command for at most so many seconds, and what is left of the total.
part() {
    local name=$1 limit=$2 left=$((total - SECONDS)) status
    shift 2
    [ "$limit" -lt "$left" ] || limit=$left
    printf '\n=== %s (at %d s, for up to %d s)\n' "$name" "$SECONDS" "$limit" | tee -a "$log"
    if [ "$limit" -lt 5 ]; then
        echo "$name: no time left" | tee -a "$log"
        failed=1
        return
    fi
    timeout -s INT -k 10 "$limit" "$@" >"$work/$what/$name.log" 2>&1
    status=$?
    tail -n 60 "$work/$what/$name.log" | cut -c1-400
    printf '%s: exit status %d after %d s in all\n' "$name" "$status" "$SECONDS" | tee -a "$log"
    [ "$status" -eq 0 ] || failed=1
    bring
}

log=$work/$what/$what.log
date >"$log"
echo "CUDA_HOME=${CUDA_HOME:-${CUDA_PATH:-}}" | tee -a "$log"
timeout 15 nvidia-smi -q -d CLOCK,POWER,PERFORMANCE,MEMORY >"$work/$what/clocks.log" 2>&1
# The first import of PyTorch on a new machine, and the first context, take long: that is nobody's time.
timeout 120 "$python" -c 'import torch; torch.zeros(1, device="cuda")' >"$work/$what/torch.log" 2>&1
if [ "$what" = check ]; then
    part probe 100 "$python" -m benchmarks gpu --probe --seconds 90 --save "$work/check"
    part check 240 "$python" -m benchmarks gpu --check --seconds 230 --save "$work/check"
    if "$python" -c 'import pytest, hypothesis' 2>/dev/null; then
        together=()
        ! "$python" -c 'import xdist' 2>/dev/null || together=(-n 8 --dist worksteal)
        NUMBARNN_EXAMPLES=5 part tests 300 "$python" -m pytest -q -p no:cacheprovider --maxfail=30 -rfE --tb=short \
            "${together[@]}" tests/cuda
    else
        echo "tests: pytest or hypothesis is not installed; the checks above need neither" | tee -a "$log"
    fi
else
    part benchmark 450 "$python" -m benchmarks gpu --seconds 435 --save "$work/time"
fi
printf '\nDone in %d s, exit status %d; everything is in %s\n' "$SECONDS" "$failed" "$out" | tee -a "$log"
bring
exit "$failed"
