# Debian's packages that suites need, sourced by their setup scripts.

on_path() { command -v "$1" >/dev/null; }

# Installs packages, of which some may be servers. The machine is not to run those: each test starts its own.
install_packages() {
  [ $# -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ] || ! on_path apt-get; then
    echo "missing, and only root can install it: apt-get install --no-install-recommends $*" >&2
    exit 1
  fi
  echo "installing $*"
  # Where it exists already it says what the machine's owner wants.
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}
