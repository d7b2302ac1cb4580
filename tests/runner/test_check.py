# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the runner itself, its data and its memory"""

import io
import os
import subprocess
import tempfile
import textwrap
import unittest
from unittest import mock

import matrix
import runner
from testing import record

SMALL = '''
kernels = ["stable", "testing"]

[unit]
timeout = 5

[unit.state]
what = "w"
command = "build {slow} x"
case = "-p {case}"
timeout = 10

[kvm]
timeout = 100

[kvm.kvm]
what = "w"
kernels = ["stable", "testing"]
command = "tests/lab/run --kernel {kernel} {--slow} {part}"

[kvm.kvm.parts]
tick = ["tick/live", "tick/file"]
rest = ["rest"]

[[kvm.kvm.on-one-kernel]]
why = "w"
testing = ["tick/live/1"]

[soak.soak]
what = "w"
command = "tests/lab/soak {part}"
case = ""
timeout = 7
part = "--moves 3"
long.command = "tests/lab/soak --long {part}"

[soak.soak.parts]
auto = "--moves 50"
'''


class Judgement(unittest.TestCase):
    GOOD = '1..1\nok 1 a\n'

    def judge(self, *args, **kwargs):
        r = runner.judge(record(*args, **kwargs), 60)
        return len(r.passed), r.failed, len(r.skipped)

    def test_verdicts(self):
        self.assertEqual(self.judge(self.GOOD), (1, 0, 0))
        for verdict in ('ERROR', 'FAIL', 'INTERRUPT', 'TIMEOUT', 'anything'):
            with self.subTest(verdict):
                self.assertEqual(self.judge(self.GOOD, verdict), (1, 1, 0))

    def test_no_record(self):
        self.assertEqual(runner.judge(None, 60).failed, 1)

    def test_timeout(self):
        r = runner.judge(record('1..2\nok 1 a\n# slow\n', 'TIMEOUT', -15), 60)
        self.assertEqual(len(r.passed), 1)
        self.assertIn('to end within 60 s', [f.expected for f in r.failures])

    def test_stderr(self):
        r = runner.judge(record('1..1\nnot ok 1 a\n', 'FAIL', 1,
                                stderr='why\n'), 60)
        self.assertEqual(r.failures[0].words, ['why'])


class Data(unittest.TestCase):
    def setUp(self):
        self.matrix = matrix.Matrix(text=SMALL)

    def test_short(self):
        found = {t.name: t for t in self.matrix.tests('short')}
        self.assertEqual(list(found), ['state', 'kvm-stable', 'kvm-testing',
                                       'soak'])
        self.assertEqual(found['soak'].command, 'tests/lab/soak --moves 3')
        self.assertEqual(found['state'].timeout, 10 + matrix.GRACE)
        self.assertEqual(found['kvm-stable'].timeout, 100 + matrix.GRACE)
        self.assertEqual(found['state'].command, 'build x')
        self.assertEqual(found['kvm-stable'].command,
                         'tests/lab/run --kernel stable --not tick/live/1')
        self.assertEqual(found['kvm-testing'].command,
                         'tests/lab/run --kernel testing')

    def test_long(self):
        found = {t.name: t for t in self.matrix.tests('long')}
        self.assertEqual(list(found), [
            'state', 'kvm-stable.tick', 'kvm-stable.rest', 'kvm-testing.tick',
            'kvm-testing.rest', 'soak.auto'])
        self.assertEqual(found['state'].command, 'build -m slow x')
        self.assertEqual(found['state'].one_by_hand,
                         'scripts/buildenv run build -m slow x -p {case}')
        self.assertEqual(found['state'].by_hand,
                         'scripts/buildenv run build -m slow x')
        self.assertEqual(found['kvm-stable.rest'].one_by_hand,
                         'tests/lab/run --kernel stable --slow {case}')
        self.assertEqual(
            found['kvm-stable.tick'].command,
            'tests/lab/run --kernel stable --slow tick/live tick/file')
        self.assertEqual(found['kvm-stable.tick'].timeout,
                         400 + matrix.GRACE)
        self.assertEqual(found['soak.auto'].command,
                         'tests/lab/soak --long --moves 50')

    def test_wrong(self):
        for old, new in (('timeout = 5\n', 'timeuot = 5\n'),
                         ('timeout = 10\n', 'timeuot = 10\n'),
                         ('long.command = ', 'long.comand = '),
                         ('why = ', 'wny = ')):
            with self.subTest(new), self.assertRaises(ValueError):
                matrix.Matrix(text=SMALL.replace(old, new))


class Keys(unittest.TestCase):
    def test_contents(self):
        with tempfile.TemporaryDirectory() as top:
            def key():
                k = runner.Key()
                k.add_trees(top)
                return str(k)

            found = [key()]
            for name, text in (('a', 'x'), ('a', 'y'), ('b', 'y')):
                with open(os.path.join(top, name), 'w',
                          encoding='utf-8') as f:
                    f.write(text)
                found.append(key())
            self.assertEqual(len(set(found)), 4)
            self.assertEqual(key(), found[-1])

    def test_environment(self):
        """The outer emulator, its firmware, kernels and user space count."""
        seen = []
        with tempfile.TemporaryDirectory() as cache:
            for path in ('kernel-stable/release', 'kernel-stable/vmlinux',
                         'hostroot-1/usr/bin/qemu'):
                path = os.path.join(cache, path)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, 'w', encoding='utf-8') as f:
                    f.write('x')
                key = runner.Key()
                key.add_environment(cache)
                seen.append(str(key))
            self.assertEqual(len(set(seen)), 3)
        with mock.patch.object(runner.Key, 'add_files') as add:
            runner.Key().add_environment('')
        self.assertIn('/usr/bin/qemu-system-riscv64', add.call_args.args)


class FakeMeson:
    """Gives each test the next of its records."""

    def __init__(self, logs, records, status=0):
        self.logs = logs
        self.records = records
        self.status = status
        self.ran = []

    def run(self, tests, keys):
        found = []
        for test in tests:
            self.ran.append(test.name)
            r = self.records[test.name].pop(0)
            if r is KeyboardInterrupt:
                raise r
            if r:
                self.logs.add(test.name, r | {'shell': test.command,
                                              'key': keys.get(test.name)})
            found.append((test, r))
        return found, self.status


class Checks(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.matrix = matrix.Matrix(text=SMALL)

    def check(self, records, form='long', again=False, status=0, keys={}):
        """Returns the status, what was said, and the names of what ran."""
        logs = runner.Logs(self.directory, keep=form == 'long')
        meson = FakeMeson(logs, records, status)
        tests = [t for t in self.matrix.tests(form) if t.name in records]
        check = runner.Check(tests, meson, logs, again, form == 'long',
                             keys)
        with mock.patch('sys.stdout', io.StringIO()) as out:
            try:
                check.run()
                status = check.tell()
            except KeyboardInterrupt:
                status = 130
        return status, out.getvalue().splitlines(), meson.ran

    GOOD = record('1..2\nok 1 a\nok 2 b # SKIP why\n')
    BAD = record('1..1\n# oh\nnot ok 1 /a b\n', 'FAIL', 1)

    def test_good(self):
        status, said, _ = self.check({'state': [self.GOOD]})
        self.assertEqual(status, 0)
        self.assertEqual(said[-1], '1 passed, 0 failed, 1 skipped')
        self.assertIn('skipped: state: b: why', said)
        self.assertIn(f'logs: {self.directory}', said)

    def test_bad(self):
        status, said, _ = self.check({'state': [self.BAD]})
        self.assertEqual(status, 1)
        self.assertEqual(said[-1], '0 passed, 1 failed')
        self.assertIn("    again: scripts/buildenv run build -m slow x -p "
                      "'/a b'", said)
        self.assertIn('    | # oh', said)

    def test_not_a_case(self):
        _, said, _ = self.check({'state': [record('1..0\n')]})
        self.assertIn('    again: scripts/buildenv run build -m slow x', said)

    def test_only_skips(self):
        status, said, _ = self.check(
            {'state': [record('1..0 # SKIP why\n', 'SKIP')]})
        self.assertEqual((status, said[-1]),
                         (1, '0 passed, 0 failed, 1 skipped'))

    def test_no_tests(self):
        self.assertEqual(self.check({})[0], 1)

    def test_not_run(self):
        status, said, _ = self.check({'state': [None],
                                      'kvm-stable.rest': [self.GOOD]})
        self.assertEqual((status, said[-1]),
                         (1, '1 passed, 1 failed, 1 skipped'))

    def test_status_of_meson(self):
        """As when it dies after one test."""
        status, said, _ = self.check({'state': [self.GOOD]}, status=1)
        self.assertEqual((status, said[-1]),
                         (1, '1 passed, 1 failed, 1 skipped'))

    def test_goes_on(self):
        first = self.check({'state': [self.GOOD],
                            'kvm-stable.rest': [KeyboardInterrupt]})
        self.assertEqual(first[0], 130)
        status, said, ran = self.check({'state': [],
                                        'kvm-stable.rest': [self.GOOD]})
        self.assertEqual((status, ran), (0, ['kvm-stable.rest']))
        self.assertEqual(said[-1], '2 passed, 0 failed, 2 skipped')

    def test_killed(self):
        """Only what has come to its end counts for the next time."""
        for r in (record('1..2\nok 1 a\n', 'FAIL', 137),
                  record('1..2\nok 1 a\n', 'INTERRUPT', -15)):
            with self.subTest(r['result']):
                self.directory += '/again'
                self.check({'state': [r]})
                self.assertEqual(self.check({'state': [self.GOOD]})[2],
                                 ['state'])

    def test_again(self):
        self.check({'state': [self.BAD], 'kvm-stable.rest': [self.GOOD]})
        status, _, ran = self.check({'state': [], 'kvm-stable.rest': []})
        self.assertEqual((status, ran), (1, []))
        status, said, ran = self.check(
            {'state': [self.GOOD], 'kvm-stable.rest': []}, again=True)
        self.assertEqual((status, ran), (0, ['state']))
        self.assertEqual(said[-1], '2 passed, 0 failed, 2 skipped')
        # What had failed is still there.
        with open(os.path.join(self.directory, 'state.1.log'),
                  encoding='utf-8') as f:
            self.assertIn('not ok 1 /a b\n', f.read())

    def test_short_runs_all(self):
        for _ in range(2):
            self.assertEqual(
                self.check({'state': [self.GOOD]}, 'short')[2], ['state'])
        self.assertEqual(sorted(os.listdir(self.directory)),
                         ['state.1.json', 'state.1.log'])

    def test_unchanged(self):
        """What has passed and depends on little is skipped, not passed."""
        def ran(r, key):
            return self.check({'state': [r], 'kvm-stable': [self.GOOD]},
                              'short', keys={'state': key})

        self.assertIn('state', ran(self.BAD, 'a')[2])
        self.assertIn('state', ran(self.GOOD, 'a')[2])
        status, said, names = ran(self.GOOD, 'a')
        self.assertEqual((status, names), (0, ['kvm-stable']))
        self.assertEqual(said[-1], '1 passed, 0 failed, 2 skipped')
        self.assertIn('state', ran(self.GOOD, 'b')[2])

    def test_sums(self):
        text = SMALL.replace('timeout = 10\n',
                             'timeout = 10\ninfrastructure = true\n')
        self.matrix = matrix.Matrix(text=text)
        _, said, _ = self.check({'state': [self.GOOD],
                                 'kvm-stable.rest': [self.GOOD],
                                 'kvm-stable.tick': [self.GOOD]})
        self.assertEqual(said[-3:], [
            'fork: 2 passed, 0 failed, 2 skipped',
            'infrastructure: 1 passed, 0 failed, 1 skipped',
            '3 passed, 0 failed, 3 skipped'])


class RealMeson(unittest.TestCase):
    """Programs that lie, die or hang, run by meson."""

    BUILD = textwrap.dedent('''\
        project('fake')
        sh = find_program('sh')
        foreach name, command : {
          'good': 'echo 1..1; echo ok 1 a',
          'dies': 'echo 1..2; echo ok 1 a; kill -9 $$',
          'forgets': 'echo 1..1; echo not ok 1 a; exit 0',
          'silent': 'exit 0',
          'hangs': 'echo 1..2; echo ok 1 a; echo "# here"; sleep 1000',
        }
          test(name, sh, args: ['-c', command], protocol: 'tap', timeout: 2,
               suite: 'unit')
        endforeach
        ''')

    def test_meson(self):
        with tempfile.TemporaryDirectory() as top:
            with open(os.path.join(top, 'meson.build'), 'w',
                      encoding='utf-8') as f:
                f.write(self.BUILD)
            subprocess.run(['meson', 'setup', f'{top}/b/tests', top],
                           check=True, stdout=subprocess.DEVNULL)
            meson = runner.Meson(f'{top}/b', runner.Logs(f'{top}/logs', True))
            tests = [mock.Mock(form='short', command='x') for _ in range(6)]
            for test, name in zip(tests, (
                    'good', 'dies', 'forgets', 'silent', 'hangs', 'missing')):
                test.name = name
            with mock.patch('sys.stdout', io.StringIO()) as out:
                found, status = meson.run(tests[:5], {})
            found = [(t.name, runner.judge(r, 2)) for t, r in found]
            self.assertNotEqual(status, 0)
            self.assertIn('OK   a\n', out.getvalue())
            self.assertEqual(
                [(n, len(r.passed), r.failed > 0) for n, r in found],
                [('good', 1, False), ('dies', 1, True), ('forgets', 0, True),
                 ('silent', 0, True), ('hangs', 1, True)])
            # One that meson does not know: it runs nothing, and says so.
            with mock.patch('sys.stdout', io.StringIO()):
                found, status = meson.run([tests[0], tests[5]], {})
            self.assertNotEqual(status, 0)
            self.assertTrue(all(r is None for _, r in found))
