# Sourced by deploy/run and deploy/test: a virtual environment that matches the lock, made on first use.
# Python 3.11 or later; PYTHON=python3.12 uses another interpreter. After the set-up nothing here touches the network.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"
python=${PYTHON:-python3}

fail() { echo "dreambot: $1" >&2; exit 2; }

digest() {  # what decides the environment: the lock and the interpreter
    { cat "$root/deploy/requirements.lock"; command -v "$python"; } | sha256sum | cut -d" " -f1
}

set_up() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "Python 3.11 or later is needed; '$python' is not. Name another with PYTHON=python3.12."
    echo "dreambot: one-time set-up, about 6 GB" >&2
    local log="$root/.venv-setup.log"
    {
        if ! "$venv/bin/python" -c "import os, sys; sys.exit(os.path.realpath(sys.executable) != os.path.realpath('$(command -v "$python")'))" 2>/dev/null; then
            "$python" -c "import sys; print(sys.version)" && rm -rf "$venv" && "$python" -m venv "$venv"
        fi &&
        "$venv/bin/pip" install --require-hashes -r "$root/deploy/requirements.lock" &&
        "$venv/bin/pip" install --no-deps --no-build-isolation --no-index --editable "$root"
    } >"$log" 2>&1 || { tail -n 15 "$log" >&2; fail "the set-up failed; the whole log is in .venv-setup.log"; }
    rm -f "$log"
    echo "$1" > "$venv/dreambot-stamp"
}

wanted=$(digest)
if [ "$(cat "$venv/dreambot-stamp" 2>/dev/null)" != "$wanted" ]; then
    exec 9>"$root/.venv-lock"  # two first starts side by side: the second waits and finds it done
    if command -v flock >/dev/null; then flock 9; fi
    [ "$(cat "$venv/dreambot-stamp" 2>/dev/null)" = "$wanted" ] || set_up "$wanted"
    exec 9>&-
fi
