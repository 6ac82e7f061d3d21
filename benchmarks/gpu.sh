#!/usr/bin/env bash
# All that is to be done on a machine with a GPU, offline, in under nine minutes: bash benchmarks/gpu.sh FOLDER
# Probe, checks (CPU parity, finite differences, bits), the benchmark, the tests: tables come to FOLDER as they are made.
# A part that fails or takes too long does not keep the next one from running; the exit status is 1 then.
set -u
[ $# -eq 1 ] || { echo "usage: bash benchmarks/gpu.sh FOLDER" >&2; exit 2; }
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 2
[ ! -f .gpu/env.sh ] || . .gpu/env.sh # packages brought along, for a machine without any
python=${PYTHON:-python3}
total=530 # seconds
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 NUMBARNN_GPU=1
export OMP_WAIT_POLICY=PASSIVE NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS=0
export NUMBA_CACHE_DIR=${NUMBA_CACHE_DIR:-$out/cache}
unset NUMBA_ENABLE_CUDASIM
failed=0
SECONDS=0

# part NAME LIMIT COMMAND ...: run a command for at most so many seconds, and what is left of the total.
part() {
    local name=$1 limit=$2 left=$((total - SECONDS)) status
    shift 2
    [ "$limit" -lt "$left" ] || limit=$left
    printf '\n=== %s (at %d s, for up to %d s)\n' "$name" "$SECONDS" "$limit" | tee -a "$out/gpu.log"
    if [ "$limit" -lt 5 ]; then
        echo "$name: no time left" | tee -a "$out/gpu.log"
        failed=1
        return
    fi
    timeout -s INT -k 10 "$limit" "$@" >"$out/$name.log" 2>&1
    status=$?
    tail -n 60 "$out/$name.log" | cut -c1-400
    printf '%s: exit status %d after %d s in all\n' "$name" "$status" "$SECONDS" | tee -a "$out/gpu.log"
    [ "$status" -eq 0 ] || failed=1
}

date >"$out/gpu.log"
timeout 15 nvidia-smi -q -d CLOCK,POWER,PERFORMANCE,MEMORY >"$out/clocks.log" 2>&1
part probe 60 "$python" -m benchmarks gpu --probe --seconds 55 --save "$out"
part check 170 "$python" -m benchmarks gpu --check --seconds 160 --save "$out"
part benchmark 220 "$python" -m benchmarks gpu --seconds 205 --save "$out"
if "$python" -c 'import pytest, hypothesis' 2>/dev/null; then
    part tests 200 "$python" -m pytest -q -p no:cacheprovider --maxfail=30 tests/cuda
else
    echo "tests: pytest or hypothesis is not installed; the checks above need neither" | tee -a "$out/gpu.log"
fi
[ "$out/cache" != "$NUMBA_CACHE_DIR" ] || rm -rf "$out/cache"
printf '\nDone in %d s, exit status %d; everything is in %s\n' "$SECONDS" "$failed" "$out" | tee -a "$out/gpu.log"
exit "$failed"
