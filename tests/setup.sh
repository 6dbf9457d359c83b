#!/usr/bin/env bash
# Gets what the suite needs besides npm's packages and isn't there yet: Debian's Redis and etcd, which the tests start on
# free ports for themselves.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/debian.sh

packages=()
on_path redis-server || packages+=(redis-server)
on_path etcd || packages+=(etcd-server)
on_path etcdctl || packages+=(etcd-client)
install_packages "${packages[@]}"
