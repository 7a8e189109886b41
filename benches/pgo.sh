#!/usr/bin/env bash
# Builds the program for deployment with what it learns under load (profile-guided
# optimisation, as https://doc.rust-lang.org/rustc/profile-guided-optimization.html has
# it): a sixth less CPU time a request than `--profile dist` alone. Half an hour on two
# cores; the result is target/pgo/lockgate.
set -euo pipefail
case ${1:-} in
  '') ;;
  *)
    printf 'usage: benches/pgo.sh\n\nBuilds target/pgo/lockgate. Needs what benches/peers/connections.py needs.\n'
    [ "$1" = --help ]
    exit
    ;;
esac
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
host=$(rustc -vV | sed -n 's/^host: //p')
merge=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
pgo=$target/pgo

step() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

# With a target named, flags are for the program alone and not for what builds it.
build() {
  CARGO_TARGET_DIR=$pgo/$1 RUSTFLAGS=$2 cargo build --profile dist -p lockgate --bin lockgate --target "$host"
}

if [ ! -x "$merge" ]; then
  step "llvm-profdata, of rustup's component llvm-tools"
  rustup component add llvm-tools
fi

step 'a program that counts'
build counting "-Cprofile-generate=$pgo/counts"

step 'counting under load'
rm -rf "$pgo/counts"
counting=$pgo/counting/$host/dist/lockgate
export LLVM_PROFILE_FILE=$pgo/counts/%m_%p.profraw
benches/peers/connections.py --lockgate "$counting" --only lockgate --rounds 1 --seconds 3 \
  --cases h2,handshake,body,body-tls,tcp,websocket --json "$pgo/connections.json"
benches/peers/run.py --lockgate "$counting" --only lockgate --rounds 1 --seconds 3 \
  --idle 10 --starts 1 --json "$pgo/requests.json"
unset LLVM_PROFILE_FILE
"$merge" merge -o "$pgo/learnt.profdata" "$pgo/counts"

step 'the program that learnt'
build learnt "-Cprofile-use=$pgo/learnt.profdata"
cp "$pgo/learnt/$host/dist/lockgate" "$pgo/lockgate"
step "done: $pgo/lockgate"
