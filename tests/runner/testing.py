# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the runner share"""

import tapresults


def counts(text, status=0):
    r = tapresults.read(text, status)
    return len(r.passed), r.failed, len(r.skipped)


def record(stdout, result='OK', returncode=0, **kwargs):
    return dict({'name': 'x', 'stdout': stdout, 'result': result,
                 'returncode': returncode, 'duration': 1.0}, **kwargs)
