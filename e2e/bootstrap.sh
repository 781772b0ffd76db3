# Sourced by up, test and down: finds the tools, makes the Python environment, and hands over to the harness (e2e/harness).
# What is slow to make is kept outside the repository, in a cache whose entries are keyed by version.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export ZKE_CACHE=${ZKE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/zookeeper-ensemble}

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }

need() { # need COMMAND WHY
  command -v "$1" >/dev/null || die "'$1' is not on the PATH: $2"
}

# apt WORD...: runs apt-get, and again for up to ten minutes as long as somebody else holds a lock of apt.
apt() {
  local end=$((SECONDS + 600)) said
  until said=$(LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get "$@" 2>&1); do
    case $said in *'Could not get lock'*) ;; *) die "apt-get $*: $said" ;; esac
    [ "$SECONDS" -lt "$end" ] || die "apt-get $*: $said"
    sleep 2
  done
}

# apt_install PACKAGE...: as root on Debian it installs, otherwise it says what to install.
apt_install() {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $*" >&2
    apt update -qq
    apt install -y -qq --no-install-recommends "$@"
  else
    die "missing: $*; install it (Debian: sudo apt-get install $*) or run as root"
  fi
}

need python3 "install Python 3.11 or newer"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "python3 is $(python3 -V), 3.11 or newer is needed"
need cargo "install Rust (https://rustup.rs)"
command -v cc >/dev/null || apt_install gcc libc6-dev
python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv

# One environment for each Python and each set of requirements; made under another name first, so an interrupted run leaves no half.
key=$({ python3 -c 'import sys; print(sys.version, sys.executable)'; cat "$here/requirements.txt"; } | sha256sum | cut -c1-12)
venv=$ZKE_CACHE/python-$key
if [ ! -x "$venv/.ready" ]; then
  rm -rf "$venv"
  mkdir -p "$ZKE_CACHE"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  install -m 755 /dev/null "$venv/.ready"
fi

harness() {
  export PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
  exec "$venv/bin/python" -m harness "$@"
}
