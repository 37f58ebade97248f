#!/bin/bash
# Mail with two author domains, said to Postfix.
set -eu
exec 3<>/dev/tcp/192.0.2.9/25
answer() {
    while read -r line <&3; do
        case $line in
            [23][0-9][0-9]-*) ;;
            [23]*) return 0 ;;
            *) echo "$line" >&2; return 1 ;;
        esac
    done
}
answer
for command in "EHLO stranger.example" "MAIL FROM:<x@stranger.example>" "RCPT TO:<root@receiver.example>" DATA; do
    printf '%s\r\n' "$command" >&3
    answer
done
printf 'From: a@one.example, b@two.example\r\n\r\nbody\r\n.\r\n' >&3
answer
printf 'QUIT\r\n' >&3
answer
