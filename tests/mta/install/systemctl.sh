#!/bin/sh
# Stands in for systemctl(1) where no systemd runs: reads alignd.service with its drop-ins and does what it says
# about users, directories, what can be written to, and rights.
set -eu
unit=/etc/systemd/system/alignd.service

# The words of a setting that is a list: an empty one forgets those before it.
value() {
    cat $unit $unit.d/*.conf 2>/dev/null | awk -F= -v key="$1" '
        $1 == key { sub(/^[^=]*=/, ""); if ($0 == "") words = separator = ""; else { words = words separator $0; separator = " " } }
        END { print words }'
}

# In a mount namespace of its own.
start() {
    user=$(value User) group=$(value Group)
    writable=
    for directory in $(value StateDirectory); do
        install -d -o $user -g $group -m "$(value StateDirectoryMode)" "/var/lib/$directory"
        writable="$writable /var/lib/$directory"
    done
    for directory in $(value RuntimeDirectory); do
        install -d -o $user -g $group -m 0755 "/run/$directory"
        writable="$writable /run/$directory"
    done
    for path in $(value ReadWritePaths); do
        case $path in
            -*) [ ! -e "${path#-}" ] || writable="$writable ${path#-}" ;;
            *) writable="$writable $path" ;;
        esac
    done
    for path in $writable; do
        mount --bind "$path" "$path"
    done
    # ProtectSystem=strict, PrivateTmp=yes, ProtectHome=yes
    for path in /run /usr /; do
        mount -o remount,bind,ro "$path"
    done
    for path in /tmp /var/tmp /home /root; do
        mount -t tmpfs tmpfs "$path"
    done
    groups=$(id -G "$user" | tr ' ' ,)
    for group in $(value SupplementaryGroups); do
        # As systemd does: without the group, no start.
        groups=$groups,$(getent group "$group" | cut -d: -f3 | grep .)
    done
    umask "$(value UMask)"
    # shellcheck disable=SC2046 # its words
    exec setpriv --reuid $user --regid $(value Group) --groups "$groups" --no-new-privs --bounding-set=-all \
        --inh-caps=-all $(value ExecStart)
}

case "$*" in
    daemon-reload)
        systemd-analyze verify /etc/systemd/system/alignd*.service ;;
    "enable --now alignd")
        unshare --mount "$0" start >/var/log/alignd 2>&1 </dev/null &
        for _ in $(seq 300); do
            # Type=notify: started once it says so.
            ! grep -qs 'listening' /var/log/alignd || exit 0
            kill -0 $! 2>/dev/null || break
            sleep 0.1
        done
        cat /var/log/alignd >&2
        exit 1 ;;
    start)
        start ;;
    *)
        echo "systemctl: not for: $*" >&2
        exit 1 ;;
esac
