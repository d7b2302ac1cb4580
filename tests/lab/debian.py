# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk with Debian and its systemd, for guests."""

import hashlib
import os
import subprocess
import tempfile

import lab
from images import DEBIAN_MODULES

# All files of the packages are on the disk already, so that the scripts of
# each find what they run.
INSTALL = '''
mkdir /disk
mount -t ext4 /dev/vda /disk
mount -t proc proc /disk/proc
mount --bind /dev /disk/dev
chroot /disk /bin/sh -euc '
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C
    export PATH=/usr/sbin:/usr/bin:/sbin:/bin
    dpkg --install --force-depends /var/cache/apt/archives/*.deb
    rm /var/cache/apt/archives/*.deb
    dpkg --audit
    echo debian >/etc/hostname
    : >/etc/fstab
' >&2 && umount /disk/dev /disk/proc && umount /disk
'''


def disk():
    """The file, which is made in an emulated machine once."""
    base = os.environ['LAB_GUESTROOT']
    key = hashlib.sha256(INSTALL.encode()).hexdigest()[:12]
    final = os.path.join(base, f'disk-{key}')
    if os.path.exists(final):
        return final
    print('# installing Debian on a disk (some minutes, once)', flush=True)
    with tempfile.TemporaryDirectory(dir=base) as work:
        path = os.path.join(work, 'disk')
        subprocess.run(['mke2fs', '-q', '-t', 'ext4', '-d',
                        os.path.join(base, 'root.tar'), path, '1G'],
                       check=True)
        with lab.Host('install', modules=DEBIAN_MODULES, disk=path) as host:
            host.check(INSTALL, 3600)
        os.rename(path, final)
    return final
