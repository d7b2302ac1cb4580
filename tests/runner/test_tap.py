# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of TAP, which must not lie"""

import io
import re
import textwrap
import unittest

import tapresults
import tapunit
from testing import counts


class Tap(unittest.TestCase):
    """Each is what a program wrote, its status, and what that comes to."""

    def check(self, text, expected, status=0, says=''):
        text = textwrap.dedent(text)
        self.assertEqual(counts(text, status), expected)
        told = '\n'.join(f'{f.name}: {f.expected}' for f in
                         tapresults.read(text, status).failures)
        self.assertTrue(re.search(says, told), told)

    def test_honest(self):
        self.check('''\
            TAP version 13
            # random seed: 1
            1..4
            ok 1 /a
            ok 2 - b
            ok 3 c # SKIP not now
            not ok 4 d # TODO not yet
            ''', (2, 0, 2))
        self.check('ok 1 a\nok 2 b\n1..2\n', (2, 0, 0))
        self.check('1..2\nok a\nok b\n', (2, 0, 0))
        self.check('1..1\r\nok 1 a\r\n', (1, 0, 0))
        self.check('1..0 # SKIP no kvm\n', (0, 0, 1))

    def test_failed(self):
        self.check('1..2\nok 1 a\nnot ok 2 b\n', (1, 1, 0), 1, 'b: to pass')
        # A program that forgets its status
        self.check('1..1\nnot ok 1 b\n', (0, 1, 0), 0)

    def test_nothing(self):
        self.check('', (0, 1, 0), 0, 'a plan')
        self.check('', (0, 1, 0), 1, 'a plan')
        self.check('hello\nworld\n', (0, 1, 0), 0, 'a plan')

    def test_no_plan(self):
        self.check('ok 1 a\nok 2 b\n', (2, 1, 0), 0, 'a plan')

    def test_plan_too_long(self):
        self.check('1..5\nok 1 a\nok 2 b\n', (2, 3, 0), 0, '3 tests: to run')
        self.check('1..2\nok 2 b\n', (1, 1, 0), 0, 'test 1: to run')

    def test_plan_too_short(self):
        self.check('1..1\nok 1 a\nok 2 b\n', (1, 1, 0), 0, 'b: .* beyond')
        self.check('ok 1 a\nok 2 b\n1..1\n', (1, 1, 0), 0, 'beyond')

    def test_two_plans(self):
        self.check('1..1\nok 1 a\n1..1\n', (1, 1, 0), 0, 'one plan')
        self.check('1..1\nok 1 a\n1..1\nok 1 a\n', (1, 2, 0))

    def test_plan_in_the_middle(self):
        self.check('ok 1 a\n1..2\nok 2 b\n', (1, 1, 0), 0, 'beyond')

    def test_plan_of_none(self):
        self.check('1..0\n', (0, 1, 0), 0, 'the reason')
        self.check('1..0 # SKIP\n', (0, 1, 0), 0, 'the reason')
        self.check('1..0 # SKIP why\nok 1 a\n', (0, 2, 0), 0)

    def test_same_number(self):
        self.check('1..2\nok 1 a\nok 1 a\n', (1, 2, 0), 0, 'of its own')

    def test_bail_out(self):
        self.check('1..2\nok 1 a\nBail out! broken\nok 2 b\n', (1, 2, 0), 1,
                   'go on to its end')
        self.check('Bail out! broken\n', (0, 2, 0), 0)

    def test_dies_after_ok(self):
        self.check('1..1\nok 1 a\n', (1, 1, 0), -11, 'status -11')
        self.check('1..1\nok 1 a\n', (1, 1, 0), 1, 'status 1')

    def test_truncated(self):
        self.check('1..2\nok 1 a\nok 2 b', (1, 2, 0), 0, 'whole lines')
        self.check('1..2\nok 1 a\nnot o', (1, 1, 0), 0, 'to run')
        self.check('1..1', (0, 2, 0), 0, 'whole lines')

    def test_skip_without_reason(self):
        self.check('1..1\nok 1 a # SKIP\n', (0, 1, 0), 0, 'a reason for SKIP')
        self.check('1..1\nnot ok 1 a # TODO\n', (0, 1, 0), 0, 'a reason')

    def test_skipped_but_failed(self):
        self.check('1..1\nnot ok 1 a # SKIP why\n', (0, 1, 0), 0, 'to pass')

    def test_todo_that_passes(self):
        self.check('1..1\nok 1 a # TODO why\n', (0, 1, 0), 0, 'to fail')

    def test_no_directive(self):
        """A name may have the words."""
        self.check('1..2\nok 1 a-SKIP\nok 2 #SKIPPED\n', (1, 1, 0))
        self.check('1..1\nok 1 skip # of a stone\n', (1, 0, 0))

    def test_no_test(self):
        """Words of other kinds, and tests in tests."""
        self.check('1..1\nok 1 a\n    ok 2 b\nokay\nnot okay\n', (1, 0, 0))

    def test_words(self):
        r = tapresults.read('1..3\n# of a\nok 1 a\n# of b\n# End of b\n'
                            'not ok 2 b\n  more of b\n# of c\nok 3 c\n',
                            1)
        self.assertEqual(r.failures[0].words, ['# of b', '  more of b'])


class Unittest(unittest.TestCase):
    """tapunit, and the two ends together"""

    def run_class(self, cls):
        stream = io.StringIO()
        result = tapunit.Runner(stream).run(
            unittest.defaultTestLoader.loadTestsFromTestCase(cls))
        text = stream.getvalue()
        return text, counts(text, 0 if result.wasSuccessful() else 1)

    def test_all_kinds(self):
        class Cases(unittest.TestCase):
            def test_a(self):
                print('ok 7 not for you')

            def test_b(self):
                self.fail('because')

            def test_c(self):
                self.skipTest('not now')

            @unittest.expectedFailure
            def test_d(self):
                self.fail('known')

            def test_e(self):
                raise OSError('broken')

        text, found = self.run_class(Cases)
        self.assertEqual(found, (1, 2, 2))
        self.assertIn('# ok 7 not for you\n', text)
        self.assertIn('# AssertionError: because\n', text)
        self.assertIn('# OSError: broken\n', text)

    def test_sub_tests(self):
        """Each is named with its reason, and the test has failed once."""
        class Cases(unittest.TestCase):
            def test_a(self):
                for i in range(4):
                    with self.subTest('part', i=i):
                        self.assertNotIn(i, (1, 3))

            def test_b(self):
                with self.subTest('part'):
                    self.skipTest('not now')

        text, found = self.run_class(Cases)
        self.assertEqual(found, (0, 1, 1))
        self.assertRegex(text, r'# failed: .*test_a \[part\] \(i=1\)')
        self.assertRegex(text, r'# failed: .*test_a \[part\] \(i=3\)')
        self.assertIn('1 unexpectedly found in', text)

    def test_set_up_class(self):
        class Cases(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                raise OSError('no host')

            def test_a(self):
                pass

            def test_b(self):
                pass

        text, found = self.run_class(Cases)
        self.assertEqual(found, (0, 2, 0))
        self.assertIn('# OSError: no host\n', text)
