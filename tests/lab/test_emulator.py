# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of the emulator of the hosts, for which tests are written otherwise.

A test that fails tells that the emulator has been mended: what docs/lab.md
says of the fault can go then.
"""

import os
import re
import subprocess
import tempfile
import unittest

import tapunit

HERE = os.path.dirname(os.path.abspath(__file__))
GUESTS = os.path.join(HERE, '../guests')
# On an idle machine each comes dozens of times in one run.
RUNS = 20


class Interrupts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.dir.cleanup)
        cls.program = os.path.join(cls.dir.name, 'emulator.elf')
        subprocess.run(
            ['riscv64-linux-gnu-gcc', '-O2', '-Wall', '-Wextra', '-Werror',
             '-std=gnu11', '-march=rv64gc_zicsr', '-mabi=lp64d',
             '-mcmodel=medany', '-ffreestanding', '-fno-stack-protector',
             '-fno-pic', '-nostdlib', '-static', '-no-pie', f'-I{GUESTS}',
             f'-I{HERE}/../qtest/riscv-aia', '-T', f'{GUESTS}/guest.ld',
             '-Wl,--build-id=none,--no-warn-rwx-segments',
             '-o', cls.program, os.path.join(HERE, 'emulator.c')], check=True)

    def run_until(self, what):
        for _ in range(RUNS):
            said = subprocess.run(
                ['qemu-system-riscv64', '-machine',
                 'virt,aia=aplic-imsic,aia-guests=3', '-smp', '2', '-m', '16M',
                 '-bios', self.program, '-nodefaults',
                 '-display', 'none', '-serial', 'stdio'],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60,
                check=True, text=True).stdout
            found = {k: int(v) for k, v in re.findall(r'(\w+) (\d+)', said)}
            self.assertEqual(found['broken'], 0)
            print(found)
            if found[what]:
                return
        self.fail('not seen: the emulator has been mended')

    def test_told_of_again(self):
        self.run_until('again')

    def test_lost(self):
        self.run_until('lost')

    def test_unheard(self):
        self.run_until('unheard')


if __name__ == '__main__':
    tapunit.main()
