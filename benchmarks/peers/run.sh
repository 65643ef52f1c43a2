#!/bin/sh
# The same load at every target, one after the other: benchmarks/peers/run.sh FOLDER-OF-RESULTS [SECONDS]
# LITELLM_ENV and OPENWEBUI_ENV name the environments install.sh made; a target whose environment is missing is left out.
set -eu
results=${1:?"usage: benchmarks/peers/run.sh RESULTS [SECONDS]"}
seconds=${2:-20}
mkdir -p "$results"
measure() { # TARGET SCENARIO
    echo "$1, $2 …"
    .venv/bin/python -m benchmarks load --target "$1" --scenario "$2" --streams 50 --spread 0 --seconds "$seconds" \
        >"$results/$1-$2.txt" 2>"$results/$1-$2.err" || echo "  failed: see $results/$1-$2.err"
}
targets="relay aliquot"
test -z "${LITELLM_ENV:-}" || targets="$targets litellm"
test -z "${OPENWEBUI_ENV:-}" || targets="$targets openwebui"
for target in $targets; do
    measure "$target" steady
    measure "$target" storm
done
grep -h '^|' "$results"/*.txt
