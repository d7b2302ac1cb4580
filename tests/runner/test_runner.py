# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of what runs the tests: it must not be lied to."""

import tapunit
import test_check
import test_coverage
import test_fleet
import test_programs
import test_tap


def load_tests(loader, tests, _):
    for module in (test_tap, test_check, test_coverage, test_fleet,
                   test_programs):
        tests.addTests(loader.loadTestsFromModule(module))
    return tests


if __name__ == '__main__':
    tapunit.main()
