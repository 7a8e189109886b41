#!/bin/sh
# Runs every fuzz target for so many seconds, from the kept seeds, on the stable
# compiler. Ends with 1 when a target crashed; its input is then named in the output.
#
#   fuzz/run.sh [SECONDS] [TARGET...]
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- request_head chunked_body answer_gate path packed_fields config \
    proxy_header

# What cargo-fuzz passes, as far as the stable compiler takes it. With --target
# the flags stay away from build scripts and procedural macros.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
export RUSTFLAGS
host=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --release --locked --bins --target "$host" --target-dir "$target"

work=$target/fuzz
failed=0
for name in "$@"; do
    # A fresh corpus each time, so that it cannot grow without end.
    rm -rf "$work/corpus/$name"
    mkdir -p "$work/corpus/$name" "$work/artifacts/$name"
    dictionary=
    if [ -f "seeds/$name.dict" ]; then dictionary=-dict=seeds/$name.dict; fi
    if "$target/$host/release/$name" "$work/corpus/$name" "seeds/$name" $dictionary \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$work/artifacts/$name/" -print_final_stats=1 >"$work/$name.log" 2>&1
    then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name.log")
        echo "fuzz: $name: $runs inputs in $seconds s, no crash"
    else
        echo "fuzz: $name crashed; the end of $work/$name.log:" >&2
        tail -n 40 "$work/$name.log" >&2
        failed=1
    fi
done
exit "$failed"
