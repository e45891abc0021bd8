#!/usr/bin/env bash
# Makes the environment of this folder: .venv, from requirements.txt. Called by make; safe to repeat.
set -euo pipefail
venv=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
min_free_gb=4

fail() { echo "flightline: $1" >&2; exit 1; }

find_python() {
  for candidate in "${PYTHON:-}" python3.12 python3.11 python3 python; do
    [ -n "$candidate" ] || continue
    "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && { echo "$candidate"; return; }
  done
  return 1
}

python=$(find_python) || fail "no Python 3.11 or 3.12 found. Install one (Debian: apt install python3 python3-venv), or name it: make demo PYTHON=/path/to/python3.12"
free_gb=$(df -Pk "$root" | awk 'NR==2 {print int($4 / 1024 / 1024)}')
[ "$free_gb" -ge "$min_free_gb" ] || fail "$free_gb GB free on the disk of $root, $min_free_gb GB needed. Free some space, then run it again"

if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  echo "Making $venv with $("$python" --version)"
  rm -rf "$venv"
  "$python" -m venv "$venv" >/dev/null 2>&1 || { rm -rf "$venv"; fail "$python cannot make a virtual environment. Install its venv module (Debian: apt install python3-venv), then run it again"; }
fi
echo "Installing the packages of requirements.txt (a few minutes the first time; log: var/log/install.log)"
mkdir -p "$root/var/log"
log="$root/var/log/install.log"
lock="$root/requirements.txt"
tools=$(mktemp)
trap 'rm -f "$tools"' EXIT
# What is built here is built by the lock's setuptools: pip and uv would fetch one of their own, of which no hash is known.
awk '/^[^ ]/ {wanted = /^(setuptools|uv)==/} wanted' "$lock" >"$tools"
# The lock names all that is needed, so pip looks for no more: it would ask for a hash of each extra.
by_pip() {
  "$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes --no-deps --no-build-isolation -r "$1"
}
by_uv() {
  "$venv/bin/uv" pip install --python "$venv/bin/python" --system-certs --index-strategy unsafe-best-match \
    --compile-bytecode --require-hashes --no-build-isolation -r "$lock"
}
# uv is fast; pip knows the mirrors and certificates of pip's own configuration.
{ by_pip "$tools" && { by_uv || by_pip "$lock"; }; } >"$log" 2>&1 ||
  fail "the packages cannot be installed; $log ends with: $(tail -n 3 "$log")"
"$venv/bin/python" - "$root" <<'P'
import pathlib, sys, sysconfig
# include is importable from any folder: the feast command line, notebooks and jobs run anywhere.
pathlib.Path(sysconfig.get_path("purelib"), "flightline.pth").write_text(sys.argv[1] + "\n")
P
touch "$venv/.ready"
