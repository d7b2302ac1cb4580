# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of programs and scripts that the runner builds on"""

import json
import os
import select
import subprocess
import sys
import tempfile
import textwrap
import unittest

import matrix
import tapresults
from testing import counts, record


class EachCase(unittest.TestCase):
    """tests/lab/each-case, with a program that lies"""

    PROGRAM = textwrap.dedent("""\
        #!/bin/bash
        prefix=/riscv64/riscv-aia
        if [ "${!#}" = -l ]; then
            for case in good/1 good/2 skips bad dies forgets silent twice \\
                        other; do
                echo "$prefix/$case"
            done
            exit
        fi
        name=${!#}
        echo 1..1
        echo "Oh" >&2
        case $name in
        */good/*) echo "ok 1 $name" ;;
        */skips) echo "ok 1 $name # SKIP why" ;;
        */bad) echo "not ok 1 $name - ERROR:x"; exit 1 ;;
        */dies) echo "ok 1 $name"; kill -9 $$ ;;
        */forgets) echo "not ok 1 $name" ;;
        */twice) echo "ok 1 $name"; echo "ok 1 $name" ;;
        */other) echo "ok 1 ${name}2" ;;
        esac
        """)

    def run_with(self, *args):
        with tempfile.TemporaryDirectory() as top:
            program = os.path.join(top, 'program')
            with open(program, 'w', encoding='utf-8') as f:
                f.write(self.PROGRAM)
                os.fchmod(f.fileno(), 0o755)
            args = [program if a == 'PROGRAM' else a for a in args]
            done = subprocess.run(
                ['bash', os.path.join(matrix.TOP, 'tests/lab/each-case'),
                 *args], stdout=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stdout

    def results(self, *args):
        status, text = self.run_with(*args)
        r = tapresults.read(text, status)
        short = [n.removeprefix('/riscv64/riscv-aia/') for n in r.passed]
        return short, [f.name.removeprefix('/riscv64/riscv-aia/')
                       for f in r.failures], r.skipped, status

    def test_all(self):
        self.assertEqual(self.results('PROGRAM'), (
            ['good/1', 'good/2'],
            ['bad', 'dies', 'forgets', 'silent', 'twice', 'other'],
            [('/riscv64/riscv-aia/skips', 'why')], 1))

    def test_chosen(self):
        self.assertEqual(self.results('--not', 'good/2', 'PROGRAM', 'good'),
                         (['good/1'], [], [], 0))
        self.assertEqual(self.results('PROGRAM', '/riscv64/riscv-aia/good/2'),
                         (['good/2'], [], [], 0))

    def test_missing(self):
        """What is named and not there has failed."""
        self.assertEqual(self.results('PROGRAM', 'good/1', 'goo')[:2],
                         (['good/1'], ['goo']))
        self.assertEqual(self.results('--not', 'goo', 'PROGRAM', 'good')[:2],
                         (['good/1', 'good/2'], ['goo']))

    def test_words(self):
        _, text = self.run_with('PROGRAM', 'bad')
        self.assertIn('# Oh\n', text)
        self.assertIn('not ok 1 /riscv64/riscv-aia/bad - ERROR:x\n', text)

    def test_list(self):
        self.assertEqual(self.run_with('--list', 'PROGRAM', 'good'), (
            0, '/riscv64/riscv-aia/good/1\n/riscv64/riscv-aia/good/2\n'))


class QemuQtests(unittest.TestCase):
    """tests/qemu-qtests.py, with a meson that lies"""

    def run_with(self, records, status=0, listed=('a', 'b')):
        with tempfile.TemporaryDirectory() as top:
            os.makedirs(f'{top}/native/pyvenv/bin')
            os.makedirs(f'{top}/native/meson-logs')
            with open(f'{top}/records', 'w', encoding='utf-8') as f:
                for name, result, returncode in records:
                    f.write(json.dumps(record(
                        '1..1\nok 1 x\n', result, returncode,
                        name=f'qemu / qtest-riscv64/{name}')) + '\n')
                f.write('{"name": "cut off')
            with open(f'{top}/listed', 'w', encoding='utf-8') as f:
                f.write(''.join(f'qemu / qtest-riscv64/{n}\n'
                                for n in listed))
            with open(f'{top}/native/pyvenv/bin/meson', 'w',
                      encoding='utf-8') as f:
                f.write(f"""#!/bin/sh
case "$*" in
*--list*) exec cat {top}/listed ;;
esac
cp {top}/records {top}/native/meson-logs/qemu-qtests.json
exit {status}
""")
                os.fchmod(f.fileno(), 0o755)
            done = subprocess.run(
                [sys.executable, os.path.join(matrix.TOP,
                                              'tests/qemu-qtests.py'), top],
                stdout=subprocess.PIPE, text=True, check=False)
        return counts(done.stdout, done.returncode)

    def test_honest(self):
        self.assertEqual(self.run_with([('a', 'OK', 0), ('b', 'OK', 0)]),
                         (2, 0, 0))
        self.assertEqual(self.run_with([('a', 'OK', 0), ('b', 'SKIP', 0)]),
                         (1, 0, 1))
        self.assertEqual(self.run_with(
            [('a', 'OK', 0)], listed=('a', 'bios-tables-test')), (1, 0, 1))
        self.assertEqual(self.run_with(
            [('a', 'OK', 0)], listed=('a', 'riscv-aia-migration-test')),
            (1, 0, 0))

    def test_lies(self):
        good = [('a', 'OK', 0), ('b', 'OK', 0)]
        # It dies after one test, or at the end.
        self.assertEqual(self.run_with(good[:1], 1), (1, 1, 0))
        self.assertEqual(self.run_with(good[:1], 0), (1, 1, 0))
        self.assertEqual(self.run_with(good, 1), (2, 1, 0))
        self.assertEqual(self.run_with([], 1), (0, 2, 0))
        self.assertEqual(self.run_with([], 0, listed=()), (0, 1, 0))
        for result in ('FAIL', 'ERROR', 'TIMEOUT', 'INTERRUPT'):
            with self.subTest(result):
                self.assertEqual(self.run_with(good[:1] + [
                    ('b', result, 0)], 1), (1, 1, 0))
        self.assertEqual(self.run_with(good[:1] + [('b', 'OK', 1)]),
                         (1, 1, 0))


class Lock(unittest.TestCase):
    """scripts/common.sh, by which one configure waits for another"""

    SCRIPT = 'top=$1; . "$top/scripts/common.sh"; hold_lock "$2" "it"; ' \
        'echo got; read line'

    def start(self, path):
        return subprocess.Popen(
            ['sh', '-c', self.SCRIPT, 'configure', matrix.TOP, path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def test_waits(self):
        with tempfile.TemporaryDirectory() as top:
            first = self.start(f'{top}/lock')
            self.assertEqual(first.stdout.readline(), 'got\n')
            second = self.start(f'{top}/lock')
            self.assertEqual(second.stderr.readline(),
                             'configure: waiting for it\n')
            self.assertEqual(select.select([second.stdout], [], [], 0)[0], [])
            self.assertEqual(first.communicate('\n'), ('', ''))
            self.assertEqual(second.communicate('\n'), ('got\n', ''))
