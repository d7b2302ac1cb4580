# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of tests/matrix.toml: all that there is to run is in it.

   tests/runner/test_matrix.py BUILDDIR    (in the build environment)
"""

import os
import re
import subprocess
import sys
import unittest

import matrix
import tapunit

BUILD = os.path.abspath(sys.argv.pop(1))
sys.path.append(os.path.join(matrix.TOP, 'tests/lab'))
PREFIX = '/riscv64/riscv-aia/'
# The tests whose parts are groups of cases, and what the qtest lists for them
LISTS = {
    'kvm': {'QTEST_RISCV_AIA_FILES': '7'},
    'kvm-1-file': {'QTEST_RISCV_AIA_FILES': '1'},
    'kvm-0-files': {'QTEST_RISCV_AIA_FILES': '0'},
    'fleet': {'QTEST_QEMU_BINARY_STOCK': 'x', 'QTEST_QEMU_BINARY_OTHER': 'x'},
}


def listed(env, *options):
    """The cases that the qtest has in a host, which need not be there."""
    text = subprocess.run(
        ['bwrap', '--bind', '/', '/', '--dev', '/dev', '--dev-bind',
         '/dev/null', '/dev/kvm',
         os.path.join(BUILD, 'native/tests/qtest/riscv-aia-migration-test'),
         *options, '-l'],
        env={'QTEST_QEMU_BINARY': 'qemu-system-riscv64',
             'QTEST_RISCV_AIA_GUESTS': '/nowhere', **env},
        stdout=subprocess.PIPE, text=True, check=True).stdout
    return re.findall(rf'^#* *{PREFIX}(.*)$', text, re.MULTILINE)


def is_in(case, prefixes):
    return any((case + '/').startswith(p + '/') for p in prefixes)


def classes(program):
    """Those that have tests."""
    def walk(suite):
        for test in suite:
            if isinstance(test, unittest.TestSuite):
                yield from walk(test)
            else:
                yield type(test).__name__

    module = os.path.splitext(os.path.basename(program))[0]
    return set(walk(unittest.defaultTestLoader.loadTestsFromName(module)))


class MatrixTest(unittest.TestCase):
    def setUp(self):
        self.matrix = matrix.Matrix()

    def test_cases(self):
        """Each case of the long form is in one part, and none is empty."""
        groups = {e['name']: g for e in self.matrix.entries
                  if (g := matrix.groups_of(e))}
        self.assertEqual(set(groups), set(LISTS))
        for of, env in LISTS.items():
            cases = listed(env, '-m', 'slow')
            for case in cases:
                with self.subTest(of, case=case):
                    self.assertEqual(len([g for g in groups[of].values()
                                          if is_in(case, g)]), 1)
            for name in (c for g in groups[of].values() for c in g):
                with self.subTest(of, group=name):
                    self.assertTrue([c for c in cases if is_in(c, [name])])

    def test_names(self):
        """No case is run along with another of a longer name."""
        for of, env in LISTS.items():
            cases = listed(env, '-m', 'slow')
            self.assertEqual([c for c in cases if cases.count(c) > 1], [])
            for case in cases:
                with self.subTest(of, case=case):
                    self.assertEqual([c for c in cases
                                      if is_in(c, [case])], [case])

    def test_one_kernel(self):
        """What the short form has on one kernel is there, and told why."""
        with_some = [e for e in self.matrix.entries if 'on-one-kernel' in e]
        self.assertTrue(with_some)
        for e in with_some:
            cases = listed(LISTS[e['name']])
            for only in e['on-one-kernel']:
                self.assertTrue(only['why'])
                self.assertTrue(only.get('stable') or only.get('testing'))
            # What two lists named for other kernels would run on none.
            names = [c for only in e['on-one-kernel']
                     for k in self.matrix.kernels for c in only.get(k, [])]
            for name in names:
                with self.subTest(e['name'], name=name):
                    self.assertTrue([c for c in cases if is_in(c, [name])])
                    self.assertEqual([n for n in names if is_in(name, [n])],
                                     [name])

    def test_classes(self):
        """All classes of a Python program are in the long form."""
        for e in self.matrix.entries:
            program = re.search(r'\S+/test_\w+\.py', e['command'])
            if program and 'parts' in e:
                self.assertEqual(sorted(e['parts']),
                                 sorted(classes(program[0])))

    def test_docs(self):
        """docs/testing.md has the tables as they are."""
        with open(matrix.DOCS, encoding='utf-8') as f:
            text = f.read()
        self.assertEqual(text, matrix.with_tables(text, self.matrix),
                         'tests/runner/matrix.py docs brings it up to date')


if __name__ == '__main__':
    tapunit.main()
