# SPDX-License-Identifier: GPL-2.0-or-later
"""LANs of hosts."""

import fcntl
import glob
import os
import shutil
import subprocess
import sys

from events import LabError
from places import HERE, MACHINE

MTU = 16000


class Lan:
    """This host's place on a LAN: a datagram socket, and a hub somewhere.

    Each host brings a hub process along; the first to get the lock does the
    work, and the next takes over when it goes.
    """

    def __init__(self, name, index):
        # The path of a Unix socket is short, so not in the checkout.
        self._base = os.path.join(MACHINE, f'tmp/riscv-aia-lan-{os.getuid()}')
        self.name = name
        self.dir = os.path.join(self._base, name)
        self.ip = f'10.0.0.{index}'
        self.mac = f'52:54:00:0a:00:{index:02x}'
        self.local = os.path.join(self.dir, str(index))
        # All hosts on the LAN see this as /lan.
        self.files = os.path.join(self.dir, 'files')
        self._make_directory(self._base)
        with self._all_lans():
            self._remove_unused()
            self._make_directory(self.dir)
            self._make_directory(self.files)
            self._lock = open(self.local + '.lock', 'w')
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError(f'LAN {name} has a host with index {index} '
                               'already; choose another --index') from None
        # Left behind, perhaps, by a host that was killed.
        if os.path.exists(self.local):
            os.unlink(self.local)
        self._hub = subprocess.Popen(
            [sys.executable, os.path.join(HERE, 'hub.py'), self.dir],
            stdin=subprocess.PIPE)

    @staticmethod
    def _make_directory(path):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if os.stat(path).st_uid != os.getuid():
                raise LabError(f'{path} belongs to another user') from None

    def _all_lans(self):
        """Held while hosts come and go."""
        lock = open(os.path.join(self._base, '.lock'), 'w')
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def _remove_unused(self):
        """Removes LANs on which no host is left."""
        for name in os.listdir(self._base):
            d = os.path.join(self._base, name)
            if os.path.isdir(d) and not any(map(self._in_use,
                                                glob.glob(f'{d}/*.lock'))):
                shutil.rmtree(d, ignore_errors=True)

    @staticmethod
    def _in_use(path):
        with open(path, 'w') as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
            except BlockingIOError:
                return True

    def options(self):
        hub = os.path.join(self.dir, 'hub')
        return ['-netdev', 'dgram,id=lan,local.type=unix,'
                f'local.path={self.local},remote.type=unix,remote.path={hub}',
                '-device', f'virtio-net-pci,netdev=lan,mac={self.mac},'
                f'host_mtu={MTU},romfile=']

    def close(self):
        self._hub.stdin.close()
        self._hub.wait()
        with self._all_lans():
            if os.path.exists(self.local):
                os.unlink(self.local)
            self._lock.close()
            self._remove_unused()
