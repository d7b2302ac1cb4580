# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the table of who can migrate to whom."""

import unittest

import fleet

MOVES = ('# fleet: fork on 10.0; fork on 10.2; on; live; '
         'moves from auto to emul')
REFUSED = ('# fleet: fork on 10.0; Debian\'s 10.0.13; on; live; refused: '
           'qemu-system-riscv64: no')


class FleetTest(unittest.TestCase):
    def test_rows(self):
        lines = [MOVES, 'ok 1 /a', MOVES.replace('live', 'file'), 'ok 2 /b',
                 REFUSED, 'ok 3 /c']
        self.assertEqual(list(fleet.rows(fleet.told(lines))), [
            ['fork on 10.0', "Debian's 10.0.13", '', 'live', '`no`'],
            ['fork on 10.0', 'fork on 10.2', '', 'file, live',
             'moves, there and back; modes: auto to emul']])

    def test_only_what_passed(self):
        for lines in ([MOVES, 'not ok 1 /a'], [MOVES], ['ok 1 /a', MOVES],
                      [MOVES, 'not ok 1 /a', 'ok 2 /b']):
            with self.subTest(lines):
                self.assertEqual(list(fleet.told(lines)), [])

    def test_contradiction(self):
        lines = [MOVES, 'ok 1 /a',
                 MOVES.replace('moves from', 'refused:'), 'ok 2 /b']
        with self.assertRaisesRegex(ValueError, '10.0 to fork on 10.2, on'):
            list(fleet.rows(fleet.told(lines)))
