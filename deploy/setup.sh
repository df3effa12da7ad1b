#!/usr/bin/env bash
# Makes a Debian or Ubuntu machine ready to build, run and test spatialdb. Safe to run again: it is quick when
# nothing is missing, and then needs no network.
#
#   deploy/setup.sh            what `make run` needs
#   deploy/setup.sh --node     also Node and npm, for `make earth`
#   deploy/setup.sh --test     also npm packages and a browser, for `make test`
#
# What it installs: Debian packages (asks before sudo), and Python packages in .venv of this repository.
# What it only names: a Rust toolchain, and anything on a machine without apt.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON_OLDEST="3.10"
RUST_OLDEST="$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)"
NODE_OLDEST="18"
REQUIREMENTS="workers/python/requirements.txt"
STAMPS=".venv/stamps"

wants_node=false
wants_test=false
for argument in "$@"; do
  case "$argument" in
    --node) wants_node=true ;;
    --test) wants_node=true; wants_test=true ;;
    *) echo "setup: unknown argument $argument; known: --node, --test" >&2; exit 2 ;;
  esac
done

say() { echo "setup: $*" >&2; }

fail() { say "$*"; exit 1; }

has() { command -v "$1" >/dev/null 2>&1; }

# Whether version $1 is at least $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

python_works() {
  has python3 && python3 -c "import sys; sys.exit(sys.version_info < (${PYTHON_OLDEST/./, }))" 2>/dev/null
}

# Debian ships venv apart from Python; without ensurepip a venv has no pip.
venv_works() { python3 -c 'import venv, ensurepip' 2>/dev/null; }

node_works() { has node && has npm && at_least "$(node --version | tr -d v)" "$NODE_OLDEST"; }

# Compiles a file: a compiler without the C library's headers is not enough for zstd.
compiler_works() { has cc && echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1; }

# RocksDB is C++, and its bindings are made with libclang and the headers that come with it.
libclang_works() { compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null && compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null; }

libclang_packages() {
  if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release 2>/dev/null; then
    echo libclang1-14 libclang-common-14-dev
  else
    echo libclang-dev
  fi
}

missing_packages() {
  compiler_works || echo gcc libc6-dev
  has c++ || echo g++
  [ -n "${LIBCLANG_PATH:-}" ] || libclang_works || libclang_packages
  has make || echo make
  has git || echo git
  python_works || echo python3
  venv_works || echo python3-venv
  if $wants_node && ! node_works; then echo nodejs npm; fi
}

install_packages() {
  local packages command
  packages="$(missing_packages | tr '\n' ' ' | sed 's/ *$//')"
  [ -n "$packages" ] || return 0
  command="apt-get update && apt-get install -y --no-install-recommends $packages"
  has apt-get || fail "missing: $packages. This machine has no apt-get: install them its own way, then run this again"
  if [ "$(id -u)" = 0 ]; then
    say "installing $packages (about a minute)"
    bash -c "export DEBIAN_FRONTEND=noninteractive; $command" >&2 || fail "cannot install: $packages"
  elif has sudo && [ -t 0 ] && [ "${CI:-}" != true ]; then
    local answer=""
    read -r -p "setup: missing: $packages. Install with sudo? [y/N] " answer || true
    [[ "$answer" =~ ^[yY] ]] || fail "not installed. By hand: sudo sh -c '$command'"
    sudo sh -c "$command" >&2 || fail "cannot install: $packages"
  else
    fail "missing: $packages. As root: $command"
  fi
  packages="$(missing_packages | tr '\n' ' ')"
  [ -z "$packages" ] || fail "installed, yet too old or not found: $packages(python3 >= $PYTHON_OLDEST, node >= $NODE_OLDEST)"
}

check_rust() {
  if ! has cargo; then
    fail "missing: cargo >= $RUST_OLDEST. Install it: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
  fi
  local version
  version="$(cargo --version | cut -d ' ' -f 2)"
  at_least "$version" "$RUST_OLDEST" || fail "cargo $version is too old, >= $RUST_OLDEST is needed. Update it: rustup update stable"
}

# The content of files as one name; a stamp of that name says the step was done for this content.
digest() { cat "$@" | sha256sum | cut -c 1-32; }

make_venv() {
  local stamp
  stamp="$STAMPS/requirements-$(python3 --version | tr ' ' '-')-$(digest "$REQUIREMENTS")"
  if [ -e "$stamp" ] && .venv/bin/python -c 'import grpc, google.rpc' 2>/dev/null; then return 0; fi
  say "making .venv with the packages of $REQUIREMENTS (about a minute, needs the network)"
  rm -rf .venv
  python3 -m venv .venv || fail "python3 -m venv .venv failed"
  .venv/bin/python -m pip install --quiet --requirement "$REQUIREMENTS" >&2 ||
    fail "cannot install $(grep -v '^#' "$REQUIREMENTS" | paste -sd ' '): is the network up? Then run this again"
  mkdir -p "$STAMPS"
  touch "$stamp"
}

generate_stubs() {
  local stamp
  stamp="$STAMPS/stubs-$(digest "$REQUIREMENTS" workers/python/generate.sh proto/spatialdb/v1/*.proto snapshots/earth/schema/*.proto)"
  if [ -e "$stamp" ] && [ -d workers/python/examples/generated ] && [ -d workers/python/spatialdb/v1 ]; then return 0; fi
  say "generating Python code from the .proto files"
  rm -f "$STAMPS"/stubs-*
  PATH="$PWD/.venv/bin:$PATH" workers/python/generate.sh >&2 || fail "workers/python/generate.sh failed"
  touch "$stamp"
}

install_modules() {
  local stamp
  stamp="$1/node_modules/.installed-$(digest "$1/package-lock.json")"
  if [ -e "$stamp" ]; then return 0; fi
  say "installing the npm packages of $1 (under a minute, needs the network)"
  (cd "$1" && npm ci --no-audit --no-fund --loglevel=error) >&2 ||
    fail "npm ci in $1 failed: is the network up? Then run this again"
  touch "$stamp"
}

# Only the page is tested with it. Where it cannot be had, that test is left out, and says so.
install_browser() {
  if [ -n "${CHROMIUM:-}" ] || has chromium || has chromium-browser || has google-chrome; then return 0; fi
  if has apt-get && [ "$(id -u)" = 0 ]; then
    say "installing chromium, to test the page (a minute)"
    DEBIAN_FRONTEND=noninteractive bash -c "apt-get update && apt-get install -y --no-install-recommends chromium" >&2 ||
      say "chromium cannot be installed: the page will not be tested"
  else
    say "there is no chromium: the page will not be tested. To have it: sudo apt-get install chromium"
  fi
}

tell_time() {
  local built="${CARGO_TARGET_DIR:-target}/release"
  [ -x "$built/spatialdb" ] || say "the first build compiles RocksDB and about 270 crates: 15 to 25 minutes on 2 cores; later ones take seconds"
}

install_packages
check_rust
make_venv
generate_stubs
if $wants_test; then
  install_browser
  install_modules workers/typescript
  install_modules spatialdb/web
fi
tell_time
