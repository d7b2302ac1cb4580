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
    KEYS = {'command', 'case', 'kernels', 'form', 'part', 'parts', 'parts-of',
            'on-one-kernel', 'parallel', 'infrastructure', 'timeout', 'what',
            'depends', *FORMS}
    SUITE_KEYS = {'timeout'}
    ONE_KERNEL_KEYS = {'why', 'stable', 'testing'}

    def __init__(self, path=os.path.join(TOP, 'tests/matrix.toml'), text=None):
        if text is None:
            with open(path, encoding='utf-8') as f:
                text = f.read()
        data = tomllib.loads(text)
        self.kernels = data.pop('kernels')
        self.suites = list(data)
        self.entries = []
        for suite, keys in data.items():
            tests = {k: v for k, v in keys.items() if isinstance(v, dict)}
            default = {k: v for k, v in keys.items() if k not in tests}
            self.known(suite, default, self.SUITE_KEYS)
            for name, test in tests.items():
                for keys in test, *(test.get(f, {}) for f in FORMS):
                    self.known(name, keys, self.KEYS)
                for keys in test.get('on-one-kernel', []):
                    self.known(name, keys, self.ONE_KERNEL_KEYS)
                if isinstance(test.get('parts'), list):
                    test['parts'] = {p: shlex.quote(p) for p in test['parts']}
                self.entries.append({'suite': suite, 'name': name,
                                     'case': '{case}', **default, **test})

    @staticmethod
    def known(name, keys, known):
        """A key that is misspelt is an error."""
        if unknown := set(keys) - known:
            raise ValueError(f'{name}: nobody knows '
                             f'{", ".join(sorted(unknown))}')

    @staticmethod
    def in_form(e, form):
        """The keys that it has in one form."""
        return {**e, **e.get(form, {})}

    def only_on_others(self, e, kernel):
        """What the short form leaves to another kernel."""
        return [c for only in e.get('on-one-kernel', [])
                for k in self.kernels if k != kernel
                for c in only.get(k, [])]

    def parts(self, e, form, kernel):
        """(suffix, what {part} stands for) of each part."""
        if 'parts-of' in e:
            pattern, size = e['parts-of']
            names = sorted(os.path.splitext(os.path.basename(p))[0]
                           for p in glob.glob(os.path.join(TOP, pattern)))
            return [(f'.{i // size + 1}', shlex.join(names[i:i + size]))
                    for i in range(0, len(names), size)]
        if form == 'long' and 'parts' in e:
            return [('.' + name,
                     part if isinstance(part, str) else shlex.join(part))
                    for name, part in e['parts'].items()]
        return [('', ' '.join([e.get('part', ''), *(
            f'--not {shlex.quote(c)}'
            for c in self.only_on_others(e, kernel))]))]

    def expand(self, e, form, build):
        e = self.in_form(e, form)
        timeout = e['timeout'] * (4 if form == 'long' else 1)
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
                           ) if e['case'] else fill(by_hand)
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


def groups_of(e):
    """The parts that are groups of cases, by name."""
    return {name: cases for name, cases in e.get('parts', {}).items()
            if isinstance(cases, list)}


def docs(matrix):
    """The lines of the tables."""
    lines = ['Suites, and what runs in each:', '']
    rows = []
    for e in matrix.entries:
        forms = [f for f in FORMS if e.get('form', f) == f]
        keys = {f: matrix.in_form(e, f) for f in forms}
        kernels = [', '.join(k.get('kernels', ['-'])) for k in keys.values()]
        if len(set(kernels)) > 1:
            kernels = [f'{k} ({f})' for f, k in zip(forms, kernels)]
        rows.append([
            e['suite'], f'`{e["name"]}`', e['what'],
            '; '.join(dict.fromkeys(kernels)), e.get('form', 'both'),
            str(len(matrix.parts(e, 'long', None))) if 'long' in forms
            else '-',
            'yes' if any(k.get('parallel') for k in keys.values()) else 'no'])
    lines += table(['suite', 'test', 'what', 'kernels', 'form',
                    'parts of the long form', 'beside others'], rows)
    lines += ['', 'The parts of the long form in emulated hosts, and the '
              'beginnings of the names of',
              'their cases, below `/riscv64/riscv-aia/`:', '']
    lines += table(['test', 'part', 'cases'], [
        [f'`{e["name"]}`', f'`{name}`', ', '.join(f'`{c}`' for c in cases)]
        for e in matrix.entries for name, cases in groups_of(e).items()])
    lines += ['', 'To save time, the short form has these cases on one kernel '
              'only, and all others on',
              'both. The long form has all on both.', '']
    rows = []
    for only in (only for e in matrix.entries
                 for only in e.get('on-one-kernel', [])):
        cases = [(c, k) for k in matrix.kernels for c in only.get(k, [])]
        for i, (case, kernel) in enumerate(cases):
            rows.append([f'`{case}`', kernel, only['why'] if i == 0 else ''])
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
