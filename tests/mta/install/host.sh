# A host on which alignd was never installed: this one, in namespaces of its own and with every change gone when they
# end. Debian's Postfix is there ($tree) if it is asked for. Then runs the steps, a script.
# usage: host.sh SOURCE BINARY STEPS [TREE]
set -eu
source=$1 binary=$2 steps=$3 tree=${4-}
hostname mx.receiver.example
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/root /mnt/changes /mnt/work /mnt/usr-changes /mnt/usr-work
root=/mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/changes,workdir=/mnt/work none $root
mount -t overlay -o "lowerdir=${tree:+$tree/usr:}/usr,upperdir=/mnt/usr-changes,workdir=/mnt/usr-work" none $root/usr
mount -t proc proc $root/proc
mount --rbind /dev $root/dev
mount -t tmpfs -o mode=755 tmpfs $root/run
ip link set lo up
ip address add 192.0.2.9 dev lo
for file in passwd group shadow gshadow; do
    [ ! -e "/etc/$file" ] || sed -i '/^\(alignd\|postfix\|postdrop\):/d' "$root/etc/$file"
done
for place in alignd postfix mail sysusers.d/alignd.conf tmpfiles.d/alignd.conf; do
    rm -rf "$root/etc/$place"
done
rm -rf $root/usr/local/bin/alignd $root/var/lib/alignd $root/var/spool/postfix $root/etc/systemd/system/alignd*
rm -f $root/etc/resolv.conf
# Nobody answers there, and says so at once.
echo nameserver 127.0.0.1 >$root/etc/resolv.conf
if [ -n "$tree" ]; then
    cp -a "$tree/etc/postfix" $root/etc/
    cp -a "$tree/var/spool/postfix" $root/var/spool/
fi
mkdir -p $root/source/target/release $root/stand-ins
for part in systemd man contrib; do
    cp -a "$source/$part" $root/source/
done
cp "$binary" $root/source/target/release/alignd
cp "$source/tests/mta/install/systemctl.sh" $root/stand-ins/systemctl
cp "$source/tests/mta/install/postfix.sh" $root/stand-ins/install-postfix
cp "$source/tests/mta/install/mail-of-two.sh" $root/stand-ins/mail-of-two
cp "$steps" $root/stand-ins/steps
chmod 755 $root/stand-ins/*
exec env -i PATH=/stand-ins:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot $root /bin/sh -c 'cd /source && exec /bin/sh /stand-ins/steps'
