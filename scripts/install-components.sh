#!/usr/bin/env bash
# Installs the real components that the tests work against, from Debian's packages, and what a build needs.
# Only what is missing is installed, and nothing is started: the tests start their own, on sockets and loopback ports.
set -euo pipefail

# What is looked for, and the package that has it.
components=(
    cc:gcc
    bash:bash
    systemctl:systemd
    /lib/systemd/systemd:systemd
    nsenter:util-linux
    unshare:util-linux
    setpriv:util-linux
    mount:mount
    supervisord:supervisor
    supervisorctl:supervisor
    df:coreutils
    openssl:openssl
    python3:python3
    script:bsdutils
    strace:strace
    setsid:util-linux
    ps:procps
)

missing=()
for component in "${components[@]}"; do
    program=${component%%:*}
    package=${component##*:}
    if ! PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null; then
        missing+=("$package")
    fi
done
# The C library's headers, for the SQLite that is built in.
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
# The roots that `http.request` trusts.
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)

if [ "${#missing[@]}" -eq 0 ]; then
    echo "all components are installed"
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
fi

# Debian starts the daemons of what it installs, unless this file says no. One that is there already stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

mapfile -t packages < <(printf '%s\n' "${missing[@]}" | sort -u)
echo "installing ${packages[*]}"
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq "$@"
}
apt update
apt install -y --no-install-recommends "${packages[@]}" >/dev/null
