#!/bin/sh
# Make .venv hold exactly what constraints.txt names, and this project itself in editable form.
# Needs a shell, python3 with venv and pip (or uv), and a reachable package index.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

fail() {
    echo "$1" >&2
    exit 1
}

# uv does not read pip's configuration: where pip was pointed at a mirror or a certificate, uv must go there too.
pip_setting() {
    "$python" -m pip config get "global.$1" 2>/dev/null || true
}
if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] && [ ! -e "${UV_CONFIG_FILE:-${HOME:-/}/.config/uv/uv.toml}" ]; then
    index=${PIP_INDEX_URL:-$(pip_setting index-url)}
    [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
fi
if [ -z "${SSL_CERT_FILE:-}" ]; then
    certificate=${PIP_CERT:-$(pip_setting cert)}
    [ -z "$certificate" ] || export SSL_CERT_FILE="$certificate"
fi
# torch and its CUDA libraries are large.
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-300}"

# A uv on PATH may be a shim that leads nowhere, so it is asked for its version.
if uv --version >/dev/null 2>&1; then
    uv=uv
else
    uv=.uv/bin/uv
    if ! "$uv" --version >/dev/null 2>&1; then
        "$python" -m venv --clear .uv >/dev/null ||
            fail "$python cannot make virtual environments; install its venv module (Debian: apt-get install python3-venv)."
        .uv/bin/python -m pip --disable-pip-version-check install --quiet "uv>=0.8" ||
            fail "uv could not be installed from the package index; check the network and pip's settings."
    fi
fi
case ${1:-install} in
constraints)
    shift
    exec "$uv" pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make constraints" \
        --output-file constraints.txt "$@" pyproject.toml
    ;;
install) ;;
*) fail "usage: tools/bootstrap.sh [install|constraints [uv options]]" ;;
esac

new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
if ! .venv/bin/python -c "$new_enough" 2>/dev/null; then
    if "$python" -c "$new_enough" 2>/dev/null; then
        request=$("$python" -c 'import sys; print(sys.executable)')
    else
        request='>=3.11'
    fi
    "$uv" venv --quiet --clear --python "$request" .venv ||
        fail "No Python 3.11 or later was found; install one and name it: make PYTHON=/path/to/python3.11 setup."
fi
echo "Installing the packages of constraints.txt into .venv" >&2
"$uv" pip sync --quiet --python .venv --require-hashes constraints.txt
"$uv" pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
