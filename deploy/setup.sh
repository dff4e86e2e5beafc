# Sourced by deploy/run and deploy/test: a virtual environment that matches the lock, made on first use.
# Python 3.11 or later; PYTHON=python3.12 uses another interpreter. After the set-up nothing here touches the network.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"
stamp="$venv/dreambot-stamp"  # the lock's digest, then the interpreter that the environment was made with

fail() { echo "dreambot: $1" >&2; exit 2; }

base_of() {  # the interpreter behind a shim, a link or an activated environment
    "$1" -c 'import os, sys; print(os.path.realpath(sys._base_executable))' 2>/dev/null
}

fits() {  # is the environment the one that is wanted? PYTHON matters only where it is set
    local digest base
    read -r digest base 2>/dev/null < "$stamp" || return 1
    [ "$digest" = "$wanted" ] && { [ -z "${PYTHON:-}" ] || [ "$base" = "$(base_of "$PYTHON")" ]; }
}

set_up() {
    local python log="$root/.venv-setup.log"
    python=$(base_of "${PYTHON:-python3}") && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or later is needed; '${PYTHON:-python3}' is not. Name another with PYTHON=python3.12."
    echo "dreambot: one-time set-up, about 6 GB" >&2
    {
        if [ "$(base_of "$venv/bin/python")" != "$python" ]; then rm -rf "$venv" && "$python" -m venv "$venv"; fi &&
        "$venv/bin/pip" install --require-hashes -r "$root/deploy/requirements.lock" &&
        "$venv/bin/pip" install --no-deps --no-build-isolation --no-index --editable "$root"
    } >"$log" 2>&1 || { tail -n 15 "$log" >&2; fail "the set-up failed; the whole log is in .venv-setup.log"; }
    rm -f "$log"
    echo "$wanted $python" > "$stamp"
}

wanted=$(sha256sum < "$root/deploy/requirements.lock" | cut -d" " -f1)
if ! fits; then
    exec 9>"$root/.venv-lock"  # two first starts side by side: the second waits and finds it done
    if command -v flock >/dev/null; then flock 9; fi
    fits || set_up
    exec 9>&-
fi
