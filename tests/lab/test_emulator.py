# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of the emulator of the hosts, for which tests are written otherwise.

A test that fails tells that the emulator has been mended: what docs/lab.md
says of the fault can go then.
"""

import os
import re
import subprocess
import unittest

import places
import tapunit

# On an idle machine each comes dozens of times in one run.
RUNS = 20


class Interrupts(unittest.TestCase):
    def run_until(self, what):
        for _ in range(RUNS):
            said = subprocess.run(
                ['qemu-system-riscv64', '-machine',
                 'virt,aia=aplic-imsic,aia-guests=3', '-smp', '2', '-m', '16M',
                 '-bios', os.path.join(places.BUILD, 'guests/emulator.elf'),
                 '-nodefaults', '-display', 'none', '-serial', 'stdio'],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=600,
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
