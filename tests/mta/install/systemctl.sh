#!/bin/sh
# Stands in for systemctl(1) where no systemd runs: reads alignd's units with their drop-ins and does what they say
# about users, directories, what can be written to, and rights.
set -eu
units=/etc/systemd/system

# The words of a setting of $unit: an empty one forgets those before it.
value() {
    cat "$unit" "$unit".d/*.conf 2>/dev/null | awk -F= -v key="$1" '
        $1 == key {
            sub(/^[^=]*=/, "")
            if ($0 == "") words = separator = ""
            else { words = words separator $0; separator = " " }
        }
        END { print words }'
}

# Makes directories below $1, owned by the unit's user, and notes that they can be written to.
directories() {
    base=$1 mode=$2
    shift 2
    for directory; do
        install -d -o "$user" -g "$group" -m "$mode" "$base/$directory"
        writable="$writable $base/$directory"
    done
}

# ProtectSystem=strict, PrivateTmp=yes, ProtectHome=yes, in a mount namespace of its own.
protect() {
    for path in $(value ReadWritePaths); do
        case $path in
            -*) [ ! -e "${path#-}" ] || writable="$writable ${path#-}" ;;
            *) writable="$writable $path" ;;
        esac
    done
    for path in $writable; do
        mount --bind "$path" "$path"
    done
    for path in /run /usr /; do
        mount -o remount,bind,ro "$path"
    done
    for path in /tmp /var/tmp /home /root; do
        mount -t tmpfs tmpfs "$path"
    done
}

start() {
    user=$(value User) group=$(value Group) writable=
    user=${user:-root} group=${group:-root}
    # shellcheck disable=SC2046 # their words
    directories /var/lib "$(value StateDirectoryMode)" $(value StateDirectory)
    # shellcheck disable=SC2046
    directories /run 0755 $(value RuntimeDirectory)
    protect
    groups=$(id -G "$user" | tr ' ' ,)
    for name in $(value SupplementaryGroups); do
        # As systemd does: without the group, no start.
        groups=$groups,$(getent group "$name" | cut -d: -f3 | grep .)
    done
    rights=-all
    for right in $(value CapabilityBoundingSet | tr '[:upper:]' '[:lower:]'); do
        rights=$rights,+${right#cap_}
    done
    umask "$(value UMask)"
    # shellcheck disable=SC2046
    exec setpriv --reuid "$user" --regid "$group" --groups "$groups" --no-new-privs --bounding-set="$rights" \
        --inh-caps=-all $(value ExecStart)
}

# Waits until the daemon's log says $1.
says() {
    for _ in $(seq 300); do
        ! grep -qs "$1" /var/log/alignd || return 0
        sleep 0.1
    done
    cat /var/log/alignd >&2
    return 1
}

case "$*" in
    daemon-reload)
        systemd-analyze verify $units/alignd*.service ;;
    "enable --now alignd")
        unshare --mount "$0" start alignd.service >/var/log/alignd 2>&1 </dev/null &
        echo $! >/stand-ins/pid
        # Type=notify: started once it says so.
        says listening ;;
    "reload alignd")
        kill -HUP "$(cat /stand-ins/pid)"
        says reloaded ;;
    "enable --now alignd-mta-helper.socket")
        unit=$units/alignd-mta-helper.socket
        socket=$(value ListenStream)
        systemd-socket-activate -l "$socket" unshare --mount "$0" start alignd-mta-helper.service >/var/log/helper 2>&1 </dev/null &
        for _ in $(seq 300); do
            [ ! -S "$socket" ] || break
            sleep 0.1
        done
        chown "$(value SocketUser):$(value SocketGroup)" "$socket"
        chmod "$(value SocketMode)" "$socket" ;;
    start\ *)
        unit=$units/$2
        start ;;
    *)
        echo "systemctl: not for: $*" >&2
        exit 1 ;;
esac
