# SPDX-License-Identifier: GPL-2.0-or-later
"""The program behind scripts/check: has meson run tests, and adds up.

Meson runs the tests that meson.build declares, and keeps what they print.
This reads it as strictly as TAP allows, tells of skips and failures, and goes
on where the long form stopped.  The last line is "N passed, N failed[, N
skipped]"; the status is 0 only if something passed and nothing failed.
"""

import argparse
import glob
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys

import matrix
import tapresults

TOP = matrix.TOP
SUBTEST = re.compile(r'\s*▶ \S+ (.*\S)\s+(OK|FAIL|SKIP|ERROR|TIMEOUT|'
                     r'EXPECTEDFAIL|UNEXPECTEDPASS)\s*$')
# What ended so was killed from outside, and has not come to its end.
KILLED = {-signal.SIGINT, -signal.SIGKILL, -signal.SIGTERM,
          128 + signal.SIGINT, 128 + signal.SIGKILL, 128 + signal.SIGTERM}


def say(text=''):
    print(text, flush=True)


def judge(record, timeout):
    """The Results of what meson has written of a test, None if nothing."""
    if record is None:
        results = tapresults.Results()
        results.fail('the program', 'to run; meson has no result of it')
        return results
    results = tapresults.read(record['stdout'], record['returncode'])
    stderr = record.get('stderr', '').splitlines()
    verdict = record['result']
    if verdict == 'TIMEOUT':
        results.fail('the program', f'to end within {timeout} s',
                     record['stdout'].splitlines())
    elif verdict not in ('OK', 'SKIP') and not results.failures:
        results.fail('the program', 'to please meson too, which says '
                     f'{verdict}', record['stdout'].splitlines())
    for failure in results.failures:
        if not failure.words:
            failure.words = stderr[-tapresults.LAST_WORDS:]
    return results


def case_name(name):
    """The name that a program takes for the test of which it said this."""
    return name.removeprefix('__main__.').split(' - ')[0]


class Logs:
    """Where outputs are kept: NAME.N.log for the N-th run of a test."""

    def __init__(self, directory, keep):
        self.directory = directory
        self.keep = keep
        os.makedirs(directory, exist_ok=True)

    def runs(self, name):
        """The paths of the records of all its runs, the last one last."""
        found = glob.glob(os.path.join(self.directory,
                                       glob.escape(name) + '.*.json'))
        found = [f for f in found if re.fullmatch(
            r'\d+', f[len(self.directory) + len(name) + 2:-len('.json')])]
        return sorted(found, key=lambda f: int(f.split('.')[-2]))

    def last(self, name):
        runs = self.runs(name)
        if not runs:
            return None
        with open(runs[-1], encoding='utf-8') as f:
            return json.load(f)

    def log(self, name):
        runs = self.runs(name)
        return runs[-1].removesuffix('json') + 'log' if runs else None

    def add(self, name, record):
        runs = self.runs(name)
        if not self.keep:
            for path in runs:
                os.remove(path)
                os.remove(path.removesuffix('json') + 'log')
            runs = []
        n = int(runs[-1].split('.')[-2]) + 1 if runs else 1
        base = os.path.join(self.directory, f'{name}.{n}')
        with open(base + '.log', 'w', encoding='utf-8') as f:
            f.write(f'$ {record["shell"]}\n{record["stdout"]}')
            if record.get('stderr'):
                f.write('\n--- its standard error\n' + record['stderr'])
            f.write(f'\n--- status {record["returncode"]}, meson says '
                    f'{record["result"]}, {record["duration"]:.0f} s\n')
        with open(base + '.tmp', 'w', encoding='utf-8') as f:
            json.dump(record, f)
        os.rename(base + '.tmp', base + '.json')


class Interrupted(Exception):
    pass


class Meson:
    """Runs the tests that are declared in meson.build."""

    def __init__(self, builddir, logs):
        self.directory = os.path.join(builddir, 'tests')
        self.logs = logs

    def setup(self):
        command = ['meson', 'setup', '--reconfigure', self.directory]
        if not os.path.exists(os.path.join(self.directory, 'build.ninja')):
            command.remove('--reconfigure')
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            sys.exit(done.stdout + 'check: error: meson setup failed')

    def run(self, tests, keys):
        """Runs them; returns (test, record) for each, and meson's status."""
        base = 'check-' + matrix.declared_name(tests[0])
        written = os.path.join(self.directory, 'meson-logs', base + '.json')
        if os.path.exists(written):
            os.remove(written)
        command = ['meson', 'test', '-C', self.directory, '--no-rebuild',
                   '--verbose', '--logbase', base, '--num-processes', '2',
                   *map(matrix.declared_name, tests)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL) as meson:
            said = []
            for line in meson.stdout:
                said.append(line)
                if progress := SUBTEST.match(line):
                    say(f'{progress[2]:4} {progress[1]}')
        records = self.read(written)
        found = []
        for test in tests:
            record = records.get(matrix.declared_name(test))
            if record:
                record['shell'] = test.command
                record['key'] = keys.get(test.name)
                self.logs.add(test.name, record)
            found.append((test, record))
        junit = written.removesuffix('json') + 'junit.xml'
        if os.path.exists(junit):
            os.replace(junit, os.path.join(self.logs.directory,
                                           os.path.basename(junit)))
        if not records:
            say(''.join(said[-20:]))
        if meson.returncode < 0 or any(
                r['result'] == 'INTERRUPT' for r in records.values()):
            raise Interrupted
        return found, meson.returncode

    @staticmethod
    def read(path):
        """Meson's records by name; a line that is cut off counts for none."""
        records = {}
        if os.path.exists(path):
            with open(path, encoding='utf-8', errors='replace') as f:
                for line in f:
                    try:
                        record = json.loads(line)
                    except ValueError:
                        continue
                    # A name is preceded by those of project and suite.
                    name = record['name'].split(' / ')[-1].split(':')[-1]
                    records[name] = record
        return records


def batches(tests):
    """Tests that may run at once together, all others alone."""
    batch = []
    for test in tests:
        if batch and not (test.parallel and batch[-1].parallel and
                          test.suite == batch[-1].suite):
            yield batch
            batch = []
        batch.append(test)
    if batch:
        yield batch


def came_to_end(record):
    return record is not None and record['result'] != 'INTERRUPT' and (
        record['result'] == 'TIMEOUT' or record['returncode'] not in KILLED)


class Check:
    def __init__(self, tests, meson, logs, again, full, keys):
        self.tests = tests
        self.meson = meson
        self.logs = logs
        self.again = again
        self.full = full
        self.keys = keys        # of tests that run only where theirs is new
        self.results = {}       # test: (Results, seconds)

    def note(self, test, record):
        results = judge(record, test.timeout)
        self.results[test] = results, record['duration'] if record else 0
        return results

    def has_run(self, test):
        """Whether a run of before does for this one."""
        record = self.logs.last(test.name)
        if not came_to_end(record):
            return False
        failed = judge(record, test.timeout).failures
        if self.full:
            if failed and self.again:
                return False
            say(f'# {test.name}: has been run')
            self.note(test, record)
            return True
        key = self.keys.get(test.name)
        if failed or key is None or key != record.get('key'):
            return False
        results = tapresults.Results()
        results.skipped.append(('all', 'has passed with the same ' +
                                ', '.join(test.depends)))
        self.results[test] = results, 0
        return True

    def run(self):
        todo = [t for t in self.tests if not self.has_run(t)]
        for batch in batches(todo):
            say('# ' + ', '.join(t.name for t in batch))
            found, status = self.meson.run(batch, self.keys)
            bad = [t for t, r in found if self.note(t, r).failures]
            if status and not bad:
                # Meson has seen something that this has not.
                bad = [batch[0]]
                self.results[batch[0]][0].fail(
                    'meson', f'status 0, not {status}')
            for test in bad:
                self.tell_failures(test)

    def tell_failures(self, test):
        log = self.logs.log(test.name)
        for f in self.results[test][0].failures:
            say(f'failed: {test.name}: {f.name}')
            say(f'    expected: {f.expected}')
            for line in f.words:
                say(f'    | {line}')
            if f.expected == 'to pass':
                say('    again: ' + test.one_by_hand.replace(
                    '{case}', shlex.quote(case_name(f.name))))
            else:
                say(f'    again: {test.by_hand}')
            if log:
                say(f'    log: {log}')

    def tell(self):
        """The last lines; returns the status."""
        def count(chosen):
            chosen = list(chosen)
            return (sum(len(r.passed) for r, _ in chosen),
                    sum(r.failed for r, _ in chosen),
                    sum(len(r.skipped) for r, _ in chosen))

        def words(numbers):
            passed, failed, skipped = numbers
            return f'{passed} passed, {failed} failed' + (
                f', {skipped} skipped' if skipped else '')

        def line(name, chosen):
            chosen = list(chosen)
            say('{:30} {:5} passed {:4} failed {:4} skipped {:6.0f} s'.format(
                name, *count(chosen), sum(s for _, s in chosen)))

        say()
        by = self.results.items()
        for suite in dict.fromkeys(t.suite for t in self.tests):
            line(suite, (r for t, r in by if t.suite == suite))
            for family in dict.fromkeys(t.family for t in self.tests
                                        if t.suite == suite):
                line('  ' + family, (r for t, r in by
                                     if t.family == family))
        for test, (results, _) in by:
            for name, reason in results.skipped:
                say(f'skipped: {test.name}: {name}: {reason}')
        for test, (results, _) in by:
            if results.failures:
                self.tell_failures(test)
        say(f'logs: {self.logs.directory}')
        for name, infrastructure in (('fork', False),
                                     ('infrastructure', True)):
            say(f'{name}: ' + words(count(
                r for t, r in by if t.infrastructure == infrastructure)))
        passed, failed, skipped = count(self.results.values())
        say(words((passed, failed, skipped)))
        return 0 if passed and not failed else 1


class Key:
    """Stands for the contents of files."""

    def __init__(self):
        self.hash = hashlib.sha256()

    def __str__(self):
        return self.hash.hexdigest()[:12]

    def add_files(self, *patterns):
        for path in sorted(p for pattern in patterns
                           for p in glob.glob(pattern)):
            if os.path.isdir(path):
                continue
            with open(path, 'rb') as f:
                self.hash.update(path.encode())
                self.hash.update(hashlib.file_digest(f, 'sha256').digest())

    def add_trees(self, *tops, contents=True):
        for top in tops:
            for directory, subdirs, names in os.walk(top):
                subdirs[:] = sorted(d for d in subdirs if d != '__pycache__')
                for path in (os.path.join(directory, n)
                             for n in sorted(names)):
                    if contents:
                        self.add_files(glob.escape(path))
                        continue
                    stat = os.lstat(path)
                    self.hash.update(f'{path} {stat.st_size} '
                                     f'{int(stat.st_mtime)}\n'.encode())

    def add_environment(self, cache):
        """What runs the tests: outer emulator, firmware, kernels, user space.

        Nobody writes to the user space of the hosts, so that names, sizes and
        times say what it is.
        """
        self.add_files('/var/lib/dpkg/status', '/usr/bin/qemu-system-riscv64',
                       '/usr/share/qemu/opensbi-riscv64-*',
                       f'{cache}/kernel-*/release',
                       f'{cache}/kernel-*/vmlinux',
                       f'{cache}/headers-*/kvm.h')
        self.add_trees(*sorted(glob.glob(f'{cache}/hostroot-*/usr')),
                       contents=False)


def tested(builddir, cache):
    """The Key of all that has a part in the result of any test."""
    key = Key()
    key.add_environment(cache)
    key.add_files(
        f'{builddir}/*/qemu-system-riscv64',
        f'{builddir}/deb/src/b/qemu/qemu-system-riscv*[0-9]',
        f'{builddir}/deb/.source',
        f'{builddir}/*/tests/qtest/riscv-aia-migration-test',
        f'{builddir}/*/tests/unit/riscv-aia/test-riscv-aia-[a-z]*[a-z]',
        f'{builddir}/guests/*.elf', f'{builddir}/fuzz/aia-load',
        'build-[0-9]*/riscv64/qemu-system-riscv64', 'Makefile', 'README.md',
        'configure', 'meson.build')
    key.add_trees('configs', 'docs', 'hw', 'include', 'migration', 'patches',
                  'qapi', 'scripts', 'series', 'target', 'tests')
    return str(key)


def key_of(test, cache):
    """The Key of what a test depends on, if that is told."""
    if not test.depends:
        return None
    key = Key()
    key.add_environment(cache)
    key.add_trees(*test.depends)
    key.add_files(*test.depends)
    return str(key)


def parse(argv, suites):
    p = argparse.ArgumentParser(prog='scripts/check', allow_abbrev=False)
    p.add_argument('--builddir', default='build')
    p.add_argument('--full', action='store_true',
                   help='the long form, which goes on where it stopped')
    p.add_argument('--again', action='store_true',
                   help='with --full: run again what has failed')
    p.add_argument('--list', action='store_true',
                   help='print what would be run')
    p.add_argument('--test', action='append', metavar='NAME',
                   help='only this test of these suites, or part of the long '
                        'form')
    p.add_argument('suites', nargs='*', metavar='SUITE',
                   help=', '.join(suites))
    args = p.parse_args(argv)
    if wrong := set(args.suites) - set(suites):
        p.error(f'no suite {", ".join(sorted(wrong))}; there are '
                f'{", ".join(suites)}')
    return p, args


def main():
    m = matrix.Matrix()
    p, args = parse(sys.argv[1:], m.suites)
    form = 'long' if args.full else 'short'
    tests = m.tests(form, args.builddir, args.suites or None)
    if args.test:
        if wrong := set(args.test) - {n for t in tests
                                      for n in (t.name, t.family)}:
            p.error(f'no test {", ".join(sorted(wrong))} in the {form} form')
        tests = [t for t in tests
                 if t.name in args.test or t.family in args.test]
    if args.list:
        for t in tests:
            say(f'{t.name}: {t.command}')
        return 0
    cache = os.environ.get('QEMU_AIA_CACHE', '')
    directory = os.path.join(args.builddir, 'logs')
    if args.full:
        directory = os.path.join(args.builddir, 'full',
                                 tested(args.builddir, cache))
        say(f'# the logs are in {directory}')
    logs = Logs(directory, keep=args.full)
    meson = Meson(args.builddir, logs)
    meson.setup()
    # What is asked for by name runs in any case.
    keys = {} if args.full or args.test else {
        t.name: key_of(t, cache) for t in tests if t.depends}
    check = Check(tests, meson, logs, args.again, args.full, keys)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        check.run()
    except (KeyboardInterrupt, Interrupted):
        say('check: interrupted' + (
            '; what has come to its end is kept' if args.full else ''))
        return 130
    return check.tell()


if __name__ == '__main__':
    sys.exit(main())
