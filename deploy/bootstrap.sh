#!/usr/bin/env bash
# Makes the virtual environment named by $1 from requirements-dev.lock, exactly, hashes checked.
#   deploy/bootstrap.sh .venv    make or renew it
#   deploy/bootstrap.sh --uv     only print the path of a uv, fetching it from PyPI into .uv/ where it is missing
# Needs nothing but a Python of at least 3.12.
set -euo pipefail
cd "$(dirname "$0")/.."

python_at_least_312() {
    local name
    for name in "${PYTHON:-}" python3 python3.13 python3.14 python3.12 python; do
        if [ -n "$name" ] && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    echo "tokenhub needs Python 3.12 or newer; none was found on the PATH (set PYTHON=/path/to/python to name one)." >&2
    return 1
}

find_uv() {
    if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then
        command -v uv
        return
    fi
    if ! .uv/bin/uv --version >/dev/null 2>&1; then
        echo "uv is not installed: getting it from PyPI into .uv/" >&2
        rm -rf .uv
        "$python" -m venv .uv
        .uv/bin/python -m pip install --quiet --disable-pip-version-check uv >&2
    fi
    echo "$PWD/.uv/bin/uv"
}

python=$(python_at_least_312)
uv=$(find_uv)
if [ "${1:-}" = --uv ]; then
    echo "$uv"
    exit 0
fi

venv=${1:?"usage: deploy/bootstrap.sh VENV | --uv"}
"$uv" venv --quiet --allow-existing --python "$python" "$venv"
echo "installing the locked requirements into $venv" >&2
VIRTUAL_ENV="$PWD/$venv" "$uv" pip sync --quiet --compile-bytecode --require-hashes --no-config requirements-dev.lock
