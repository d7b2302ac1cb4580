# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the test of coverage: what it lacks fails it."""

import contextlib
import io
import json
import os
import tempfile
import unittest

import coverage
import tapresults
from coverage import Lines


class ReportTest(unittest.TestCase):
    def test_read(self):
        """Lines of templates count once, those without code not at all."""
        lines = [{'line_number': 3, 'count': 0},
                 {'line_number': 3, 'count': 2},
                 {'line_number': 4, 'count': 0, 'gcovr/noncode': True},
                 {'line_number': 9, 'count': 0}]
        with tempfile.NamedTemporaryFile('w') as f:
            json.dump({'files': [{'file': 'hw/a.c', 'lines': lines},
                                 {'file': 'hw/b.c', 'lines': []}]}, f)
            f.flush()
            found = coverage.read_report(f.name)
        self.assertEqual(list(found), ['hw/a.c'])
        self.assertEqual(found['hw/a.c'].counts, {3: 2, 9: 0})

    def test_not_run(self):
        lines = Lines({9: 0, 1: 0, 2: 0, 4: 0, 6: 1, 7: 0, 8: 3})
        self.assertEqual(list(lines.not_run()), [(1, 4), (7, 7), (9, 9)])
        self.assertEqual(str(lines), '2 of 7 lines, 28 %')

    def test_judge(self):
        lines = Lines({1: 0, 2: 1})
        for name, found, floors, wrong in (
                ('as-measured', lines, {'as-measured': 50}, False),
                ('below', lines, {'below': 51}, True),
                ('no-floor', lines, {}, True),
                ('no-data', None, {'no-data': 0}, True)):
            with self.subTest(name):
                self.assertEqual(
                    coverage.judge(name, found, floors) is not None, wrong)


class Faked(coverage.Coverage):
    """Runs nothing: what each test says, whether it has left counters."""

    def __init__(self, out, says, counters):
        super().__init__('build', 'short', ['unit-room'])
        self.out = out
        self.says = says
        self.counters = counters
        self.data['floors'] = {name: 100 for name in coverage.own_files()}

    def run(self, test):
        return tapresults.read(self.says, 0)

    def read_counters(self, test):
        return None if self.counters else 'none'

    def add_up(self):
        return {name: Lines({1: 1}) for name in coverage.own_files()}


class TapTest(unittest.TestCase):
    def tell(self, says, counters=True):
        """Returns what is told of the test, and whether all is well."""
        with tempfile.TemporaryDirectory() as out, \
             contextlib.redirect_stdout(io.StringIO()) as text:
            faked = Faked(out, says, counters)
            tap = coverage.Tap(len(faked.tests) + len(coverage.own_files()))
            faked.tell(tap)
            self.assertTrue(os.path.exists(f'{out}/not-run.txt'))
        results = tapresults.read(text.getvalue(), int(tap.failed))
        return results.failed, len(results.passed)

    def test_tell(self):
        files = len(coverage.own_files())
        self.assertGreater(files, 30)
        good = '1..1\nok 1 a\n'
        self.assertEqual(self.tell(good), (0, files + 1))
        self.assertEqual(self.tell(good, counters=False), (1, files))
        for bad in ('', '1..0 # SKIP no KVM\n', '1..1\nnot ok 1 a\n',
                    '1..2\nok 1 a\n'):
            with self.subTest(bad):
                self.assertEqual(self.tell(bad), (1, files))


if __name__ == '__main__':
    unittest.main()
