#!/usr/bin/env bash
# Runs every test, after installing the components that they work against. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-components.sh
if [ "$(id -u)" -ne 0 ]; then
    echo "the tests start a systemd and mount small disks of their own, in namespaces: run this as root" >&2
    exit 1
fi
exec cargo test --workspace --locked "$@"
