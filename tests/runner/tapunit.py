# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a program's unittest tests and tells of them in TAP.

Unlike pycotap it prints the plan first, so that a program that dies is
noticed, and tells of each failed subTest by its name and reason.
"""

import sys
import traceback
import unittest


class _Comments:
    """Stands for a stream of output, whose lines become TAP's comments."""

    def __init__(self, stream):
        self.stream = stream
        self.line = ''

    def write(self, text):
        *lines, self.line = (self.line + text).split('\n')
        for line in lines:
            print(f'# {line}', file=self.stream, flush=True)
        return len(text)

    def flush(self):
        pass

    def end_line(self):
        if self.line:
            self.write('\n')


class _Result(unittest.TestResult):
    def __init__(self, stream):
        super().__init__()
        self.stream = stream
        self.comments = _Comments(stream)
        self.outcome = None

    def tell(self, test):
        self.comments.end_line()
        result, directive = self.outcome or ('not ok', ' # told no result')
        print(f'{result} {self.testsRun} {test.id()}{directive}',
              file=self.stream, flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.outcome = None

    def stopTest(self, test):
        super().stopTest(test)
        self.tell(test)

    def note(self, test, result, directive=''):
        if self.outcome is None or result == 'not ok':
            self.outcome = result, directive
        if isinstance(test, unittest.suite._ErrorHolder):
            # setUpClass and the like, with neither startTest nor stopTest
            self.testsRun += 1
            self.tell(test)
            self.outcome = None

    def note_failure(self, test, err):
        self.comments.end_line()
        self.comments.write(f'failed: {test.id()}\n' + ''.join(
            traceback.format_exception(*err)))
        self.note(test, 'not ok')

    def addSuccess(self, test):
        self.note(test, 'ok')

    def addSkip(self, test, reason):
        self.note(test, 'ok', f' # SKIP {reason}')

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note_failure(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self.note_failure(test, err)

    def addExpectedFailure(self, test, err):
        self.note(test, 'not ok', ' # TODO expected to fail')

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.note(test, 'not ok')

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note_failure(subtest, err)


class Runner:
    """For unittest.main(testRunner=...)"""

    def __init__(self, stream=None):
        self.stream = stream or sys.stdout

    def run(self, test):
        result = _Result(self.stream)
        print(f'1..{test.countTestCases()}', file=self.stream, flush=True)
        streams = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = result.comments
        try:
            test(result)
        finally:
            sys.stdout, sys.stderr = streams
            result.comments.end_line()
        return result


def main():
    """In place of unittest.main()"""
    unittest.main(testRunner=Runner)
