# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest with Debian and its systemd, which moves to and fro."""

import os
import subprocess

import debian
import guests
import tapunit
from test_cross_host import CrossHostTest

# The same for its QEMUs on both hosts.  That disk is the second.  Where there
# are vectors, programs of Debian use them, which on Linux 6.12 is their end
# (docs/lab.md, "Bugs of the emulated host").
GUEST = {
    'image': '.debian', 'memory': 256, 'cpu': 'host,v=off',
    'arguments': 'net.ifnames=0 systemd.getty_auto=0 systemd.show_status=0 '
                 'HEARTBEAT_ROOT=vdb',
    'devices': '-blockdev driver=file,node-name=debian,filename=/lan/debian,'
               'cache.direct=on -device virtio-blk-pci,drive=debian'}

# What the kernel says of this machine when it boots
ITS_WARNING = ('pci-host-generic 30000000.pci: Memory resource size exceeds '
               'max for 32 bits')


class Systemd(CrossHostTest):

    @classmethod
    def setUpClass(cls):
        cls.image = debian.disk()
        super().setUpClass()
        cls.disk = os.path.join(cls.hosts['stable'].lan.files, 'debian')

    def is_content(self, guest):
        """All that systemd has started is well; returns what stays."""
        self.assertEqual(
            guest.ask('run systemctl is-system-running --wait'), 'running')
        self.assertEqual(guest.ask('run systemctl -q --failed --no-legend'),
                         '')
        # It still starts what there is to do, and sees its end.
        unit = 'systemd-tmpfiles-clean'
        result, ended = guest.ask(
            f'run systemctl start {unit} </dev/null; for what in Result '
            'ExecMainExitTimestampMonotonic; do systemctl show -P $what '
            f'{unit}; done').split()
        self.assertEqual(result, 'success')
        self.assertGreater(int(ended), self.ended)
        self.ended = int(ended)
        return guest.ask('run cat /proc/sys/kernel/random/boot_id; '
                         'systemctl show -P MainPID dbus systemd-journald')

    @staticmethod
    def warnings(guest):
        """What the journal has of them, and of worse, since the last call."""
        return guest.ask(
            'run journalctl -q -b -p warning -o cat --cursor-file=/run/seen | '
            f"grep -vE '{guests.Console.HARMLESS.pattern}'")

    @staticmethod
    def uptime(guest):
        return float(guest.ask('run cat /proc/uptime').split()[0])

    def moves(self, first, second):
        subprocess.run(['cp', '--sparse=always', self.image, self.disk],
                       check=True)
        self.ended = 0
        guest = self.guest(first, **GUEST)
        # All of systemd is at work before its first heartbeat.
        guest.wait_beats(1, 900)
        guest.wait_alive()
        print(f'# {guest.console.beats[0]["up_ms"] / 1000:.0f} s to boot')
        before = self.is_content(guest)
        self.assertEqual(self.warnings(guest), ITS_WARNING)
        for kernel in second, first:
            up = self.uptime(guest)
            there = self.destination(guest, kernel, **GUEST)
            info = guests.migrate(guest, there)
            guest.quit()
            guest = there
            guest.wait_alive()
            print(f'# to {kernel}: downtime {info["downtime"]} ms')
            self.assertEqual(self.is_content(guest), before)
            self.assertEqual(self.warnings(guest), '')
            self.assertGreater(self.uptime(guest), up)
        self.assertEqual(guests.lost_beats(guest.console.beats), 0)
        self.shuts_down(guest)

    def shuts_down(self, guest):
        """By systemd; then its disk is whole."""
        guest.tell('run systemctl poweroff')
        guest.host.wait(lambda: guest.job.status is not None, 180,
                        'waiting for the guest to power off')
        self.assertEqual(guest.job.status, 0)
        subprocess.run(['e2fsck', '-f', '-n', self.disk], check=True,
                       stdout=subprocess.DEVNULL)

    def test_from_stable(self):
        self.moves('stable', 'testing')

    def test_from_testing(self):
        self.moves('testing', 'stable')


del CrossHostTest

if __name__ == '__main__':
    tapunit.main()
