# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures by gcov which lines of the fork's own files tests run.

   coverage.py BUILDDIR [--long] [TEST...]
                    builds the fork with counters in BUILDDIR-coverage, runs
                    the tests that tests/coverage.toml names, or these, and
                    tells of each test and each file in TAP
   coverage.py BUILDDIR --keep
                    makes what was measured last the floors of
                    tests/coverage.toml, and the table in docs/testing.md

Runs in the build environment.  In BUILDDIR-coverage/coverage are then
index.html, each file with its lines, and not-run.txt, those that nothing runs.
With --long the tests run in their long forms.
"""

import argparse
import dataclasses
import glob
import json
import os
import shutil
import subprocess
import sys
import tomllib

import matrix
import tapresults

TOP = matrix.TOP
DATA = os.path.join(TOP, 'tests/coverage.toml')
BEGIN = '<!-- begin: made by tests/runner/coverage.py BUILDDIR --keep -->\n'
FLOORS = '\n[floors]\n'    # the last table of the data
# Whose lines count; headers and QEMU's own files do not.
OWN = ('hw', 'migration', 'target')
GCOV = {'riscv64': 'riscv64-linux-gnu-gcov', 'native': 'gcov'}
UNIT = 'tests/unit/riscv-aia/test-riscv-aia-'


def own_files():
    return sorted(p for top in OWN for p in glob.glob(
        f'{top}/**/*.c', root_dir=TOP, recursive=True))


def read_data():
    with open(DATA, 'rb') as f:
        return tomllib.load(f)


class Lines:
    """Of one file: how often each line that has code was run."""

    def __init__(self, counts):
        self.counts = dict(sorted(counts.items()))

    @property
    def run(self):
        return sum(1 for n in self.counts.values() if n)

    @property
    def percent(self):
        return 100 * self.run // len(self.counts)

    def __str__(self):
        return f'{self.run} of {len(self.counts)} lines, {self.percent} %'

    def not_run(self):
        """(first, last) of lines with no other code in between."""
        first = last = None
        for number, count in [*self.counts.items(), (None, 1)]:
            if not count:
                first, last = first or number, number
            elif first:
                yield first, last
                first = None


def read_report(path):
    """The Lines of each file in what gcovr has written."""
    with open(path, encoding='utf-8') as f:
        data = json.load(f)
    found = {}
    for file in data['files']:
        counts = found.setdefault(os.path.relpath(os.path.realpath(
            os.path.join(TOP, file['file'])), TOP), {})
        for line in file['lines']:
            if not line.get('gcovr/noncode'):
                number = line['line_number']
                counts[number] = counts.get(number, 0) + line['count']
    return {name: Lines(counts) for name, counts in found.items() if counts}


def judge(name, lines, floors):
    """What is wrong with the Lines of a file, None if nothing is."""
    if lines is None:
        return 'gcov has nothing of it'
    if name not in floors:
        return f'{lines}, and tests/coverage.toml has no floor for it'
    if lines.percent < floors[name]:
        return f'{lines}, and not the {floors[name]} % of tests/coverage.toml'
    return None


class Tap:
    def __init__(self, plan):
        self.number = 0
        self.failed = False
        print(f'1..{plan}', flush=True)

    def tell(self, name, words, wrong=None, comments=()):
        for comment in comments:
            print(f'# {comment}')
        self.number += 1
        self.failed |= bool(wrong)
        print(f'{"not " if wrong else ""}ok {self.number} {name} - '
              f'{wrong or words}', flush=True)


def bail_out(why):
    print(f'Bail out! {why}', flush=True)
    sys.exit(1)


class Coverage:
    def __init__(self, builddir, form, names):
        self.build = f'{builddir}-coverage'
        self.path = os.path.join(TOP, self.build)
        self.out = os.path.join(self.path, 'coverage')
        self.data = read_data()
        names = names or self.data['tests']
        tests = matrix.Matrix().tests(form, self.build)
        for name in names:
            if name not in {n for t in tests for n in (t.name, t.family)}:
                raise ValueError(f'no test {name} in the {form} form')
        self.tests = [t for t in tests if {t.name, t.family} & set(names)]
        if form == 'short':
            self.tests = [self.without(t) for t in self.tests]
        self.report = os.path.join(self.out, 'coverage.json')
        # gcov adds the path of an object: here its place in the build.
        self.environment = dict(
            os.environ, BUILDDIR=self.build,
            GCOV_PREFIX_STRIP=str(len(self.path.strip('/').split('/'))))

    def without(self, test):
        """The same without the cases that coverage.toml leaves out."""
        program, *words = test.command.split(' ')
        for case in self.data['without'].get(test.name, ()):
            words = ['--not', case, *words]
        return dataclasses.replace(test, command=' '.join([program, *words]))

    def command(self, *args, log):
        with open(os.path.join(self.out, log), 'ab') as f:
            done = subprocess.run(args, cwd=TOP, stdin=subprocess.DEVNULL,
                                  stdout=f, stderr=f, check=False)
        if done.returncode:
            with open(f.name, encoding='utf-8', errors='replace') as f:
                for line in f.readlines()[-20:]:
                    print(f'# {line.rstrip()}')
            bail_out(f'{args[0]} failed; see {f.name}')

    def make(self, builddir):
        """Builds all that the tests need, as BUILDDIR is configured."""
        options = []
        with open(f'{TOP}/{builddir}/config.mk', encoding='utf-8') as f:
            for line in f:
                if line.startswith('CONFIGURE_ARGS = '):
                    options = line.split('=', 1)[1].split()
        print('# building the fork with counters', flush=True)
        self.command('./configure', *options, f'--builddir={self.build}',
                     '--builds=riscv64,native', '--coverage', '--no-install',
                     log='build.log')
        self.command('make', f'BUILDDIR={self.build}', 'build-riscv64',
                     'build-guests', log='build.log')
        self.command('ninja', '-C', f'{self.build}/native', *(
            UNIT + t.family.removeprefix('unit-') for t in self.tests
            if t.suite == 'unit'), log='build.log')

    def counted(self, test):
        """Where gcov finds what a test has counted."""
        return os.path.join(self.out, test.name)

    def run(self, test):
        """Runs a test; returns its Results."""
        print(f'# {test.name}', flush=True)
        place = self.counted(test)
        os.mkdir(place)
        with open(f'{place}.log', 'w', encoding='utf-8') as log:
            status = subprocess.run(
                ['sh', '-c', test.command], cwd=TOP, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, check=False,
                env=dict(self.environment, GCOV_PREFIX=place)).returncode
        with open(f'{place}.log', encoding='utf-8', errors='replace') as log:
            return tapresults.read(log.read(), status)

    def read_counters(self, test):
        """Has gcovr read them; returns what is wrong, None if nothing is."""
        place = self.counted(test)
        reports = []
        for build, gcov in GCOV.items():
            # From a host they come in a directory of their own.
            for top in (place, f'{place}/gcov'):
                objects = os.path.join(top, build)
                # Sources in other directories give names that begin with dots.
                counters = glob.glob(f'{objects}/**/*.gcda', recursive=True,
                                     include_hidden=True)
                if not counters:
                    continue
                for path in counters:
                    notes = os.path.splitext(path)[0] + '.gcno'
                    shutil.copy(os.path.join(
                        self.path, os.path.relpath(notes, top)), notes)
                reports.append(f'{place}.{build}.json')
                self.gcovr('--gcov-executable', gcov, '--json', reports[-1],
                           '--gcov-object-directory', f'{self.path}/{build}',
                           objects)
        return None if reports else 'it has left no counters'

    def gcovr(self, *args):
        self.command('gcovr', '--root', TOP, *(
            o for top in OWN for o in ('--filter', rf'{TOP}/{top}/.*\.c$')),
            *args, log='gcovr.log')

    def add_up(self):
        """Returns the Lines of each file."""
        tracefiles = [o for p in sorted(glob.glob(f'{self.out}/*.*.json'))
                      for o in ('--add-tracefile', p)]
        if not tracefiles:
            return {}
        self.gcovr(*tracefiles, '--json', self.report,
                   '--html-details', f'{self.out}/index.html')
        return read_report(self.report)

    def tell(self, tap):
        """Runs each test, and tells of it and of each file."""
        for test in self.tests:
            r = self.run(test)
            wrong = self.read_counters(test)
            if r.failed or not r.passed:
                wrong = f'{r.failed} of its tests failed, ' \
                        f'{len(r.passed)} passed; see {self.counted(test)}.log'
            tap.tell(test.name, f'{len(r.passed)} passed', wrong, [
                f'{f.name}: expected {f.expected}' for f in r.failures])
        found = self.add_up()
        with open(f'{self.out}/not-run.txt', 'w', encoding='utf-8') as f:
            for name in own_files():
                lines = found.get(name)
                not_run = [f'{name}:{a}-{b}' if a != b else f'{name}:{a}'
                           for a, b in lines.not_run()] if lines else []
                f.writelines(f'{line}\n' for line in not_run)
                tap.tell(name, lines, judge(name, lines,
                                            self.data['floors']),
                         (f'nothing runs {line}' for line in not_run))

    def measure(self, builddir):
        shutil.rmtree(self.out, ignore_errors=True)
        os.makedirs(self.out)
        tap = Tap(len(self.tests) + len(own_files()))
        self.make(builddir)
        self.tell(tap)
        return 1 if tap.failed else 0


def table(found):
    """Lines of docs/testing.md"""
    whole = Lines({(name, n): count for name, lines in found.items()
                   for n, count in lines.counts.items()})
    return matrix.table(['file', 'lines', 'run', 'part'], [
        [name, str(len(lines.counts)), str(lines.run), f'{lines.percent} %']
        for name, lines in [*((f'`{n}`', found[n]) for n in sorted(found)),
                            ('all', whole)]])


def keep(found):
    matrix.change(matrix.DOCS,
                  lambda text: matrix.put(text, BEGIN, table(found)))
    floors = ''.join(f'"{name}" = {lines.percent}\n'
                     for name, lines in sorted(found.items()))
    matrix.change(DATA,
                  lambda text: text.split(FLOORS)[0] + FLOORS + floors)


def main():
    p = argparse.ArgumentParser(prog='coverage.py', allow_abbrev=False)
    p.add_argument('builddir')
    p.add_argument('--long', action='store_true')
    p.add_argument('--keep', action='store_true')
    p.add_argument('tests', nargs='*', metavar='TEST')
    args = p.parse_args()
    coverage = Coverage(args.builddir, 'long' if args.long else 'short',
                        args.tests)
    if args.keep:
        keep(read_report(coverage.report))
        return 0
    return coverage.measure(args.builddir)


if __name__ == '__main__':
    sys.exit(main())
