# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program has said in TAP, taken at its word only where it adds up.

A test counts as passed if the program said so in a whole line, with a number
that no other test has, within a plan that was kept, and ended well.  Whatever
else is wrong is a failure of its own.
"""

import re

PLAN = re.compile(r'1\.\.(\d+)\s*(?:#\s*(.*))?$')
TEST = re.compile(r'(not )?ok\b(?:\s+(\d+)\b)?\s*(?:-\s+)?(.*)$')
DIRECTIVE = re.compile(r'(?:^|\s)#\s*(SKIP|TODO)\S*\s*(.*)$', re.IGNORECASE)

# What GLib and libqtest print for every test, and nobody asks for
NOISE = re.compile(r'#? *$|# (?:Start of|End of|slow test|starting QEMU|'
                   r'random seed)\b')
# So many of its last lines are shown for a failure.
LAST_WORDS = 12


class Failure:
    """A test that failed, or several of which nothing else is known."""

    def __init__(self, name, expected, words=(), count=1):
        self.name = name
        self.expected = expected
        self.words = list(words)[-LAST_WORDS:]
        self.count = count


class Results:
    """passed: names; skipped: (name, reason); failures: of Failure."""

    def __init__(self):
        self.passed = []
        self.skipped = []
        self.failures = []

    @property
    def failed(self):
        return sum(f.count for f in self.failures)

    def fail(self, *args, **kwargs):
        self.failures.append(Failure(*args, **kwargs))


class _Reader:
    def __init__(self):
        self.results = Results()
        self.plan = None
        self.late = False       # the plan came after tests
        self.whole_skip = None
        self.numbers = set()
        self.last = 0
        self.words = []
        self.bailed = False
        self.open = None        # the failure whose words may follow it

    def read_plan(self, number, comment):
        if self.plan is not None:
            self.results.fail('the plan', 'one plan, not two', self.words)
            return
        self.plan = int(number)
        self.late = bool(self.numbers)
        skip = DIRECTIVE.search('# ' + comment) if comment else None
        if self.plan:
            return
        reason = skip and skip[1].upper() == 'SKIP' and skip[2].strip()
        if reason:
            self.whole_skip = reason
        else:
            self.results.fail('the plan', 'a test, or the reason why there '
                              'is none', self.words)

    def read_test(self, bad, number, text):
        directive = DIRECTIVE.search(text)
        name = text[:directive.start()] if directive else text
        kind = directive[1].upper() if directive else None
        reason = directive[2].strip() if directive else ''
        n = int(number) if number else self.last + 1
        name = name.strip() or f'test {n}'
        self.last = n
        expected = None
        if n in self.numbers:
            expected = f'a number of its own; {n} was used before'
        elif self.late or (self.plan is not None
                           and not 1 <= n <= self.plan):
            expected = f'no test beyond the plan of {self.plan}'
        elif bad and kind != 'TODO':
            expected = 'to pass'
        elif kind == 'TODO' and not bad:
            expected = 'to fail, as it is marked TODO'
        elif kind and not reason:
            expected = f'a reason for {kind}'
        self.numbers.add(n)
        if expected:
            self.results.fail(name, expected, self.words)
            self.open = self.results.failures[-1]
        elif kind:
            self.results.skipped.append((name, reason))
        else:
            self.results.passed.append(name)
        self.words = []

    def read_line(self, line):
        """Returns whether the line means something."""
        if plan := PLAN.match(line):
            self.read_plan(plan[1], plan[2])
        elif test := TEST.match(line):
            self.open = None
            self.read_test(*test.groups())
        elif line.startswith('Bail out!'):
            self.bailed = True
            self.results.fail('the program', 'to go on to its end',
                              [*self.words, line])
        else:
            return False
        return True

    def end(self, status, cut):
        r = self.results
        if cut:
            r.fail('the program', 'whole lines; its last is cut off', [cut])
        if self.plan is None:
            r.fail('the program', 'a plan', self.words)
        elif self.whole_skip:
            if self.numbers:
                r.fail('the plan', 'no tests, for it skips all', self.words)
            else:
                r.skipped.append(('all', self.whole_skip))
        elif missing := set(range(1, self.plan + 1)) - self.numbers:
            r.fail(f'test {min(missing)}' if len(missing) == 1 else
                   f'{len(missing)} tests', f'to run, as the plan of '
                   f'{self.plan} says', self.words, len(missing))
        elif self.late and max(self.numbers) > self.plan:
            beyond = [n for n in self.numbers if n > self.plan]
            r.fail('the plan', f'no test beyond its {self.plan}', self.words,
                   len(beyond))
            del r.passed[len(r.passed) - len(beyond):]
        if status and not r.failures:
            r.fail('the program', f'to end well, not with status {status}',
                   self.words)


def read(text, status):
    """The Results of a program that has written text and ended so."""
    reader = _Reader()
    lines = text.split('\n')
    cut = lines.pop()
    for line in (line.rstrip('\r') for line in lines):
        if reader.bailed:
            break
        if reader.read_line(line) or line.startswith('TAP version'):
            continue
        # Diagnostics come before the test or, indented, after it.
        if reader.open and line.startswith(' '):
            reader.open.words = [*reader.open.words, line][-LAST_WORDS:]
        elif not NOISE.match(line):
            reader.words.append(line)
    reader.end(status, cut if PLAN.match(cut) or TEST.match(cut) else None)
    return reader.results
