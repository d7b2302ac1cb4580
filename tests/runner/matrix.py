# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads tests/matrix.toml, in which the tests are.

   matrix.py meson BUILDDIR     a line for each test, for meson.build
   matrix.py docs               puts its tables into docs/testing.md
"""

import dataclasses
import glob
import os
import re
import shlex
import sys
import tomllib

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
DOCS = os.path.join(TOP, 'docs/testing.md')
# What is between these lines of it is made.
BEGIN = '<!-- begin: made by tests/runner/matrix.py docs -->\n'
END = '<!-- end -->\n'
FORMS = ('short', 'long')
# What boots a host needs some time more to tell that the time is up.
GRACE = 120


@dataclasses.dataclass(frozen=True)
class Test:
    """One that meson runs."""
    name: str
    family: str         # the part before the first dot
    suite: str
    form: str
    command: str        # for sh, in the checkout
    by_hand: str        # the same for a user
    one_by_hand: str    # and for the one case {case}
    timeout: int
    parallel: bool
    infrastructure: bool
    depends: tuple      # what it needs to run for, if not for all


class Matrix:
    KEYS = {'name', 'suite', 'command', 'case', 'kernels', 'form', 'part',
            'parts', 'parts-of', 'group', 'parallel', 'infrastructure',
            'timeout', 'long-timeout', 'what', 'depends'}
    GROUP_KEYS = {'of', 'name', 'cases', 'why', 'stable', 'testing'}

    def __init__(self, path=os.path.join(TOP, 'tests/matrix.toml'), text=None):
        if text is None:
            with open(path, encoding='utf-8') as f:
                text = f.read()
        data = tomllib.loads(text)
        self.kernels = data.pop('kernels')
        self.suites = data.pop('suites')
        self.entries = data.pop('test')
        self.groups = data.pop('group', [])
        for g in self.groups:
            g.setdefault('name', g['cases'][0].replace('/', '-'))
        for entry, keys in ([(e, self.KEYS) for e in self.entries] +
                            [(g, self.GROUP_KEYS) for g in self.groups] +
                            [(data, set())]):
            if unknown := set(entry) - keys:
                raise ValueError(f'{entry.get("name")}: nobody knows '
                                 f'{", ".join(sorted(unknown))}')
        for e in self.entries:
            if e['suite'] not in self.suites:
                raise ValueError(f'{e["name"]}: no suite {e["suite"]}')

    def groups_of(self, name):
        return [g for g in self.groups if g['of'] == name]

    def only_on_others(self, group, kernel):
        """What the short form leaves to another kernel."""
        return [c for k in self.kernels if k != kernel
                for c in group.get(k, [])]

    def parts(self, e, form, kernel):
        """(suffix, what {part} and {cases} stand for) of each part."""
        if 'group' in e:
            groups = self.groups_of(e['group'])
            if form == 'long':
                return [('.' + g['name'], shlex.join(g['cases']))
                        for g in groups]
            return [('', ' '.join(
                f'--not {shlex.quote(c)}' for g in groups
                for c in self.only_on_others(g, kernel)))]
        if 'parts-of' in e:
            pattern, size = e['parts-of']
            names = sorted(os.path.splitext(os.path.basename(p))[0]
                           for p in glob.glob(os.path.join(TOP, pattern)))
            return [(f'.{i // size + 1}', shlex.join(names[i:i + size]))
                    for i in range(0, len(names), size)]
        if 'parts' in e:
            return [('.' + p, shlex.quote(p)) for p in e['parts']]
        return [('', e.get('part', ''))]

    def expand(self, e, form, build):
        timeout = e['timeout']
        if form == 'long' and e.get('form') != 'long':
            timeout = e.get('long-timeout', 4 * timeout)
        for kernel in e.get('kernels', [None]):
            for suffix, part in self.parts(e, form, kernel):
                name = e['name'] + (f'-{kernel}' if kernel else '')
                values = {
                    'build': build, 'kernel': kernel, 'part': part,
                    'timeout': timeout,
                    'slow': '-m slow' if form == 'long' else '',
                    '--slow': '--slow' if form == 'long' else '',
                }

                def fill(text, **more):
                    return ' '.join(re.sub(
                        r'\{([a-z-]+)\}',
                        lambda m: str((values | more)[m[1]]), text).split())

                by_hand = e['command']
                # What does not go there by itself
                if not by_hand.startswith(('tests/lab/', 'tests/mutants/')):
                    by_hand = 'scripts/buildenv run ' + by_hand
                one = fill(f'{by_hand} {e["case"]}', part='', case='{case}'
                           ) if 'case' in e else fill(by_hand)
                yield Test(
                    name=name + suffix, family=name, suite=e['suite'],
                    form=form, command=fill(e['command']),
                    by_hand=fill(by_hand), one_by_hand=one,
                    timeout=timeout + GRACE,
                    parallel=e.get('parallel', False),
                    infrastructure=e.get('infrastructure', False),
                    depends=tuple(e.get('depends', ())))

    def tests(self, form, build='build', suites=None):
        """Those of a form, in the order in which they are to run."""
        found = [t for e in self.entries if e.get('form', form) == form
                 for t in self.expand(e, form, build)]
        order = suites or self.suites
        return sorted((t for t in found if t.suite in order),
                      key=lambda t: order.index(t.suite))


def declared_name(test):
    """The name that meson knows it by: both forms are declared at once."""
    return test.name if test.form == 'short' else 'long.' + test.name


def declare(build):
    matrix = Matrix()
    for form in FORMS:
        for t in matrix.tests(form, build):
            suite = t.suite if form == 'short' else t.suite + '-long'
            print(declared_name(t), suite, t.timeout, str(t.parallel).lower(),
                  t.command, sep='\t')


def table(head, rows):
    for row in [head, ['---'] * len(head), *rows]:
        yield '| ' + ' | '.join(row) + ' |'


def docs(matrix):
    """The lines of the tables."""
    lines = ['Suites, and what runs in each:', '']
    rows = []
    for suite in matrix.suites:
        for e in (e for e in matrix.entries if e['suite'] == suite):
            parts = [s.removeprefix('.') for s, _ in
                     matrix.parts(e, 'long', None) if s]
            rows.append([
                suite, f'`{e["name"]}`', e['what'],
                ', '.join(e.get('kernels', ['-'])),
                {'short': 'short', 'long': 'long'}.get(e.get('form'), 'both'),
                str(len(parts) or 1) if e.get('form') != 'short' else '-',
                'yes' if e.get('parallel') else 'no'])
    lines += table(['suite', 'test', 'what', 'kernels', 'form',
                    'parts of the long form', 'beside others'], rows)
    lines += ['', 'The parts of the long form in emulated hosts, and the '
              'beginnings of the names of',
              'their cases, below `/riscv64/riscv-aia/`:', '']
    lines += table(['test', 'part', 'cases'], [
        [f'`{g["of"]}`', f'`{g["name"]}`',
         ', '.join(f'`{c}`' for c in g['cases'])] for g in matrix.groups])
    lines += ['', 'To save time, the short form has these cases on one kernel '
              'only, and all others on',
              'both. The long form has all on both.', '']
    rows = []
    for g in matrix.groups:
        cases = [(c, k) for k in matrix.kernels for c in g.get(k, [])]
        for i, (case, kernel) in enumerate(cases):
            rows.append([f'`{case}`', kernel, g['why'] if i == 0 else ''])
    lines += table(['case', 'short form on', 'what makes up for it'], rows)
    return lines


def put(text, begin, lines):
    """The text with these lines between that one and the next END."""
    head, rest = text.split(begin)
    return (head + begin + '\n' + '\n'.join(lines) + '\n\n' + END +
            rest.split(END, 1)[1])


def change(path, edit):
    with open(path, encoding='utf-8') as f:
        text = f.read()
    with open(path, 'w', encoding='utf-8') as f:
        f.write(edit(text))


def with_tables(text, matrix):
    return put(text, BEGIN, docs(matrix))


def main():
    if sys.argv[1:2] == ['meson'] and len(sys.argv) == 3:
        declare(sys.argv[2])
    elif sys.argv[1:] == ['docs']:
        change(DOCS, lambda text: with_tables(text, Matrix()))
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    main()
