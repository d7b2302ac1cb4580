# SPDX-License-Identifier: GPL-2.0-or-later
"""README.md and docs/: links resolve, docs/errors.md has what QEMU says, and
   commands name what there is.

   tests/docs.py    (from the checkout)
"""

import glob
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'runner'))
import matrix  # noqa: E402
import tapunit  # noqa: E402

PAGES = ['README.md', *sorted(glob.glob('docs/*.md'))]
SOURCES = ('hw', 'migration', 'target')
SAYS = (r'\b(?:error_setg(?:_errno)?|error_report(?:f_err)?|error_prepend|'
        r'warn_report(?:_once|f_err)?|info_report|error_printf|'
        r'error_append_hint|riscv_reg_error)\s*\(')
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
CONVERSION = r'%[-0-9.]*(?:l|ll|z)?(?:" PRI\w+ ")?[a-zA-Z]|\.\.\.|0x\w+|\d+'
SUITES = matrix.Matrix().suites
# Heads in docs/errors.md that QEMU says without the fork
OF_QEMU = (
    'Input validation failed', 'KVM cannot disable extension',
    'Unknown savevm section or instance', 'Unknown section or instance',
    'error while loading state for instance', 'unsupported version',
    'Sibling indicated error 1', 'Unable to write to socket', 'incoming '
    'version_id')


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def without_code(text):
    return re.sub(r'```.*?```|`[^`]*`', '', text, flags=re.DOTALL)


def anchors(text):
    """As GitHub makes them of headings."""
    heads = re.findall(r'^#+ (.*)$', re.sub(r'```.*?```', '', text,
                                            flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', h.lower()).replace(' ', '-')
            for h in heads}


def dead_links(page, text):
    """Links to files, or to headings, that are not there."""
    for link in re.findall(r'\]\(([^)\s]+)\)', without_code(text)):
        path, _, anchor = link.partition('#')
        if re.match(r'\w+:', link):
            continue
        path = os.path.normpath(os.path.join(os.path.dirname(page), path)
                                if path else page)
        if not os.path.exists(path) or anchor and \
           anchor not in anchors(read(path)):
            yield link


def call_text(source, start):
    """What is between the parentheses of a call."""
    depth = 1
    for m in re.finditer(r'"(?:[^"\\]|\\.)*"|[()]', source[start:]):
        depth += {'(': 1, ')': -1}.get(m[0], 0)
        if not depth:
            return source[start:start + m.start()]
    raise ValueError('no end of a call')


def messages(source):
    """The format strings of what a source says."""
    for m in re.finditer(SAYS, source):
        # The first string; later ones are arguments.
        first = re.search(r'(?:"(?:[^"\\]|\\.)*"\s*(?:PRI\w+\s*)?)+',
                          call_text(source, m.end()))
        text = re.sub(r'"\s*(PRI\w+)\s*"', r'\1', first[0]) if first else ''
        text = re.sub(r'%PRI\w+|PRI\w+', '%d', ''.join(STRING.findall(text)))
        if text.strip():
            yield text


def fixed(text):
    """The parts of a message that are always the same."""
    text = re.sub(r'\s+', ' ', text.replace('\\n', ' ').replace('\\"', '"'))
    return [p.strip() for p in re.split(CONVERSION, text)
            if re.search('[a-z]{3}', p)]


def is_part(parts, text):
    """Whether the parts are in the text, in their order."""
    return re.search('.*'.join(map(re.escape, parts)), text) is not None


def spans(page):
    """Whatever the page has in backticks, in one line each."""
    return [re.sub(r'\s+', ' ', s) for s in re.findall(r'`([^`]+)`', page)]


def not_told(source, page):
    """What the source says, and the page does not have."""
    said = spans(page)
    for message in messages(source):
        parts = fixed(message)
        if not any(is_part(parts, s) or s.count(' ') >= 3 and
                   is_part(fixed(s), ' '.join(parts))
                   for s in said if fixed(s)):
            yield message


def heads(page):
    """The messages that a page explains: terms of its lists."""
    for term in re.findall(r'(?:^|\n\n)(`.*?)\n: ', page, re.DOTALL):
        yield from spans(term)


def never_said(page, source):
    """Messages of the page that nothing says, by how they begin."""
    strings = re.sub(r'\s+', ' ', re.sub(r'"\s*(?:PRI\w+)?\s*"', '', source))
    for head in heads(page):
        parts = fixed(head.removeprefix('warning: '))
        begins = [' '.join(p.split()[:4]) for p in parts if p.count(' ')]
        if begins and not any(q in head for q in OF_QEMU) and \
           not any(b in strings for b in begins):
            yield head


def commands(text):
    """The commands in indented blocks, without what is said of them."""
    for line in text.replace('\\\n', ' ').splitlines():
        m = re.match(r'    ((?:make|\./\w|scripts/|tests/).*?)(?:  .*)?$',
                     line)
        if m:
            yield m[1]


def wrong_commands(text, makefile):
    """Commands whose script, make target or option does not exist."""
    for line in commands(text):
        words = line.split()
        if not words:
            continue
        if words[0] == 'make':
            for word in words[1:]:
                if word.startswith('check-') and word[6:] in SUITES:
                    continue
                if '=' in word:
                    # What follows is said of it.
                    break
                if re.fullmatch(r'[a-z][\w-]*', word) and not re.search(
                        rf'^[\w\- ]*\b{word}\b[\w\- ]*:', makefile,
                        re.MULTILINE):
                    yield line
        elif re.match(r'(\./|scripts/|tests/)', words[0]):
            if not os.path.exists(words[0]):
                yield line
                continue
            script = ''.join(map(read, [*glob.glob(words[0] + '*'),
                                        'tests/runner/runner.py']))
            for word in words[1:]:
                if word in ('--', 'run'):
                    break
                option = re.match(r'--[a-z][\w-]*', word)
                if option and option[0] not in script:
                    yield line


def all_sources():
    for top in SOURCES:
        for path, _, names in os.walk(top):
            yield from (os.path.join(path, n) for n in names
                        if n.endswith('.c'))
    yield from glob.glob('patches/*.patch')


def text_of(path):
    """A source as the fork has it, or what a patch adds."""
    text = read(path)
    if 'AIA_FORK' in text:
        text = subprocess.run(['unifdef', '-DAIA_FORK=1', path], text=True,
                              stdout=subprocess.PIPE).stdout
    if path.endswith('.patch'):
        text = '\n'.join(line[1:] for line in text.splitlines()
                         if re.match(r'\+[^+]', line))
    return text


class DocsTest(unittest.TestCase):
    def test_links(self):
        for page in PAGES:
            self.assertEqual(list(dead_links(page, read(page))), [], page)

    def test_messages(self):
        page = read('docs/errors.md')
        source = {p: text_of(p) for p in all_sources()}
        lacks = [f'{p}: {m}' for p, s in source.items()
                 for m in not_told(s, page)]
        self.assertEqual('\n'.join(lacks), '')
        self.assertEqual(list(never_said(page, ''.join(source.values()))), [])

    def test_commands(self):
        seen = 0
        for page in PAGES:
            seen += len(list(commands(read(page))))
            self.assertEqual(list(wrong_commands(read(page),
                                                 read('Makefile'))), [], page)
        self.assertGreater(seen, 20)


class TestOfTheTest(unittest.TestCase):
    def test_links(self):
        text = '[a](gone.md) [b](README.md#no-such-heading) [c](README.md)'
        self.assertEqual(list(dead_links('README.md', text)),
                         ['gone.md', 'README.md#no-such-heading'])

    def test_messages(self):
        source = ('error_setg(errp, "hart %d has " "gone at 0x%" PRIx64 "!",'
                  ' cs->cpu_index);')
        for page, lacks in (('`hart 2 has gone at 0x...!`', 0),
                            ('`hart 2 has come`', 1)):
            self.assertEqual(len(list(not_told(source, page))), lacks)
        self.assertEqual(
            len(list(not_told('error_report("the host is on fire");',
                              '`the host`'))), 1)
        page = '\n\n`hart 2 has gone`\n: Why.\n\n`it sings a song`\n: Why.\n'
        self.assertEqual(list(never_said(page, source)), ['it sings a song'])

    def test_commands(self):
        text = ('    make no-such-target   does it\n    scripts/gone\n'
                '    ./configure --no-such-option\n    make check\n')
        self.assertEqual(list(wrong_commands(text, 'check: all\n')),
                         ['make no-such-target', 'scripts/gone',
                          './configure --no-such-option'])


if __name__ == '__main__':
    tapunit.main()
