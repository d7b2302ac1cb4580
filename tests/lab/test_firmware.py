# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that move while their firmware is at work, and then are Linux."""

import os
import random
import re
import time

import guests
import lab
import tapunit
from images import guest_directory
from test_cross_host import CrossHostTest

MEMORY = 256
# Linux runs at addresses above, firmware below.
KERNEL = 1 << 63


class FirmwareTest(CrossHostTest):
    """A guest is stopped at a moment, moved, and goes on on the other host.

    It boots once without a move, which tells how long its firmware takes, and
    then with moves at random moments of that time.  SEED=N in the environment
    has the moments of an earlier run.
    """

    MOVES = 6
    GUESTS = 6

    def setUp(self):
        super().setUp()
        seed = int(os.environ.get('SEED') or random.randrange(10 ** 9))
        print(f'# SEED={seed}')
        self.random = random.Random(seed)

    def options(self, host):
        """What a guest needs to have its firmware on a host."""
        raise NotImplementedError

    def answer(self, guest):
        """Says to the firmware what it waits for, if it does."""

    def looks_at(self, guest):
        """Sees to it that Linux has come up by that firmware."""

    def boot(self, kernel, console=None):
        # EDK2 has the command line from the QEMU that it is in by then, and
        # Linux may come up on the other host (docs/lab.md, mstatus.MPV).
        return self.guest(kernel, memory=MEMORY, console=console,
                          arguments='HEARTBEAT_NO_VECTOR=1',
                          **self.options(self.hosts[kernel]))

    def run_guest(self, guest, timeout, what):
        """Until its first heartbeat; returns whether there is one."""
        def alive():
            if any(e['event'] == 'STOP' for e in guest.events):
                self.fail('QEMU has stopped the guest: '
                          f'{guest.job.stderr().strip()}')
            self.answer(guest)
            return guest.console.beats
        return guest.wait(alive, timeout, what)

    def firmware_takes(self, kernel):
        """How many seconds of a start are before those of Linux."""
        guest = self.boot(kernel)
        began = time.monotonic()
        self.run_guest(guest, 300, 'waiting for Linux')
        beat = guest.console.beats[0]
        seconds = beat['at'] - began - beat['up_ms'] / 1000
        print(f'# the firmware takes {seconds:.1f} s on {kernel}')
        self.looks_at(guest)
        guest.quit()
        return seconds

    def in_firmware(self, guest):
        """Whether a guest that is stopped has not come to Linux yet."""
        text = guest.qmp('human-monitor-command',
                         **{'command-line': 'info registers'})
        pc = int(re.search(r'^ pc +(\w+)', text, re.MULTILINE)[1], 16)
        # Its programs run at low addresses, too.
        return pc < KERNEL and not any('Linux version' in line
                                       for line in guest.console.lines)

    def one_guest(self, hosts, moments):
        """Moves at these moments of its start; returns how many it had."""
        guest = self.boot(hosts[0])
        began = time.monotonic()
        away = 0
        moved = 0
        for moment in moments:
            try:
                # Nothing tells of a moment but the clock.
                self.run_guest(guest, max(0, began + away + moment -
                                          time.monotonic()), '')
            except lab.LabTimeout:
                pass
            stopped = time.monotonic()
            guest.qmp('stop')
            if not self.in_firmware(guest):
                # This one of its stops is known.
                guest.events.clear()
                guest.qmp('cont')
                break
            there = self.boot(hosts[(moved + 1) % 2], guest.console)
            guests.migrate(guest, there)
            guest.quit()
            guest = there
            moved += 1
            print(f'# moved at {moment:.1f} s')
            guest.qmp('cont')
            away += time.monotonic() - stopped
        self.run_guest(guest, 300, 'waiting for Linux')
        guest.wait_alive()
        self.looks_at(guest)
        there = self.boot(hosts[(moved + 1) % 2], guest.console)
        guests.migrate(guest, there)
        guest.quit()
        there.wait_alive()
        self.assertEqual(guests.lost_beats(there.console.beats), 0)
        there.quit()
        return moved

    def moves(self, *hosts):
        """There and back, until firmware has been moved often enough.

        A busy machine measures another time than a start then takes, and a
        guest that has come to Linux is of no use any more.
        """
        seconds = self.firmware_takes(hosts[0])
        left = self.MOVES
        for _ in range(self.GUESTS):
            left -= self.one_guest(hosts, sorted(
                self.random.uniform(0, seconds) for _ in range(left)))
            if not left:
                return
        self.fail(f'{self.GUESTS} guests were in their firmware at '
                  f'{self.MOVES - left} of {self.MOVES} moments')

    def test_from_stable(self):
        self.moves('stable', 'testing')

    def test_from_testing(self):
        self.moves('testing', 'stable')


class Edk2(FirmwareTest):
    """From flash, with variables; Linux is started by its EFI stub."""

    FILES = '/usr/share/qemu-efi-riscv64/RISCV_VIRT_'

    def options(self, host):
        host.check(f'cp {self.FILES}VARS.fd /tmp/vars')
        return {'devices': (
            '-machine pflash0=code,pflash1=vars '
            '-blockdev driver=file,node-name=code,read-only=on,'
            f'filename={self.FILES}CODE.fd '
            '-blockdev driver=file,node-name=vars,filename=/tmp/vars')}

    def looks_at(self, guest):
        """It has what it knows of its machine from ACPI."""
        self.assertEqual(
            guest.ask('run ls /sys/firmware/acpi/tables/APIC '
                      '/sys/firmware/efi/systab /proc/device-tree/soc 2>&-'),
            '/sys/firmware/acpi/tables/APIC /sys/firmware/efi/systab')


class UBoot(FirmwareTest):
    """It reads Linux from a disk, as it is told by the serial port."""

    PROGRAM = '/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        blocks = []
        with open(os.path.join(cls.hosts['stable'].lan.files, 'disk'),
                  'wb') as disk:
            for name in 'Image', 'initrd':
                with open(os.path.join(guest_directory(), name), 'rb') as f:
                    data = f.read()
                blocks.append(-(-len(data) // 512))
                disk.write(data.ljust(blocks[-1] * 512, b'\0'))
        kernel, initrd = blocks
        cls.COMMANDS = (
            'virtio dev 1; '
            f'virtio read $kernel_addr_r 0 {kernel:x}; '
            f'virtio read $ramdisk_addr_r {kernel:x} {initrd:x}; '
            # There is no room for more in its own device tree.
            'fdt move $fdtcontroladdr $fdt_addr_r 10000; '
            'booti $kernel_addr_r '
            f'$ramdisk_addr_r:{initrd * 512:x} $fdt_addr_r')

    def setUp(self):
        super().setUp()
        self.answered = {}

    def options(self, host):
        return {'program': self.PROGRAM, 'devices': (
            '-blockdev driver=file,node-name=linux,filename=/lan/disk,'
            'read-only=on -device virtio-blk-pci,drive=linux')}

    def answer(self, guest):
        """Interrupts its own plans, and tells what to do instead."""
        console = guest.console
        state = self.answered.get(console, 0)
        if state == 0 and 'stop autoboot' in console.line:
            guest.tell('\x03')
            self.answered[console] = 1
        elif state == 1 and console.line.endswith('=> '):
            self.answered[console] = 2
            guest.tell(self.COMMANDS)
            # What is on its way is not moved.
            guest.wait(lambda: any(self.COMMANDS[-20:] in line
                                   for line in console.lines), 60,
                       'waiting for an echo')

    def looks_at(self, guest):
        self.assertRegex(
            guest.ask('run cat /proc/device-tree/chosen/u-boot,version'),
            r'^20\d\d\.')


del CrossHostTest, FirmwareTest

if __name__ == '__main__':
    tapunit.main()
