#!/usr/bin/env bash
# Makes .venv with everything that the demo and the tests need; does nothing when it is up to date.
# PYTHON names the interpreter (3.11 or later).
set -euo pipefail
cd "$(dirname "$0")/../.."

constraints=deploy/setup/constraints.txt
wanted=$(cat pyproject.toml "$constraints" | sha256sum | cut -d' ' -f1)
stamp=.venv/secondread-setup
if [ -x .venv/bin/secondread ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi

python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "setup: Python 3.11 or later is needed; name it with PYTHON=/path/to/python3.11." >&2
  exit 1
fi
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  echo "setup: making .venv with $("$python" --version)"
  if ! "$python" -m venv .venv; then
    echo "setup: no virtual environment can be made; on Debian: apt install python3.11-venv." >&2
    exit 1
  fi
fi

install() {
  .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input \
    --constraint "$constraints" "$@"
}
echo "setup: installing PyTorch (the largest part; a minute or more the first time)"
install "torch==2.13.*"
echo "setup: installing SecondRead with the extras demo, test, train and monai"
install --editable ".[demo,test,train,monai]"
echo "$wanted" >"$stamp"
