# SPDX-License-Identifier: GPL-2.0-or-later
"""The package of make deb has all that Debian's has, and what is the fork's.

   tests/deb.py BUILDDIR    (in the build environment)

Debian's package and the libraries of both are in the environment of
"scripts/buildenv deb"; its qemu-user runs both emulators there.
"""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'runner'))
import readme  # noqa: E402
import tapunit  # noqa: E402

BUILD = os.path.abspath(sys.argv.pop(1))
PACKAGE = 'qemu-system-riscv'
ARCHES = ('riscv32', 'riscv64')
IN_ENV = ('scripts/buildenv', 'deb', 'run')
HELP = ('-device', '-netdev', '-object', '-chardev', '-machine', '-cpu',
        '-accel', '-display', '-audio', '-vga', '-tpmdev', '-d')
# What the fork wants to be otherwise: patterns of whole lines of what is
# compared, below what they are found in.  + is the fork's, - is Debian's.
WANTED = {
    'schema': (
        r'\+ command x-query-riscv-kvm-faults( .*)?',
        r'\+ event RISCV_GUEST_FILE_WAIT( .*)?',
    ),
    'monitor': (
        r'\+ info riscv-kvm-faults .*',
    ),
    'types': (
        r'\+ riscv-aia-kvm',
        r'\+ riscv\.sifive\.test-kvm(\..*)?',
        r'\+ riscv\.(aplic|imsic)-kvm',
        r'\+ riscv\.(aplic|imsic)-kvm\..*',
    ),
    'accel properties': (
        r'\+ riscv-fault-[a-z-]+ .*',
    ),
}
# Fields of a package that tell which build of it this is
OF_BUILD = {'Version', 'Installed-Size', 'Origin', 'Status'}


def in_env(*command):
    return subprocess.run([*IN_ENV, *command], text=True,
                          stdout=subprocess.PIPE, check=True).stdout


def package():
    found = glob.glob(os.path.join(BUILD, f'deb/{PACKAGE}_*_riscv64.deb'))
    if len(found) != 1:
        raise FileNotFoundError('make deb has left no package in '
                                f'{BUILD}/deb: {found}')
    return found[0]


def differences(ours, theirs):
    """A line for each, with + or - in front."""
    ours, theirs = set(ours), set(theirs)
    return [f'+ {x}' for x in sorted(ours - theirs)] + \
           [f'- {x}' for x in sorted(theirs - ours)]


def unwanted(kind, ours, theirs):
    return '\n'.join(
        d for d in differences(ours, theirs)
        if not any(re.fullmatch(p, d) for p in WANTED.get(kind, ())))


class Monitor:
    """A machine that does not run, and answers QMP on its standard output."""

    def __init__(self, program, *options):
        self.process = subprocess.Popen(
            [*IN_ENV, 'qemu-riscv64', program, '-S', '-display', 'none',
             '-nodefaults', '-qmp', 'stdio', *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        self.read()
        self.ask('qmp_capabilities')
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise EOFError('QEMU has ended: ' + self.process.stderr.read())
        return json.loads(line)

    def answer(self, command, **arguments):
        """What is returned, or the error."""
        self.process.stdin.write(json.dumps(
            {'execute': command, 'arguments': arguments}) + '\n')
        self.process.stdin.flush()
        while True:
            said = self.read()
            if 'error' in said:
                return said['error']
            if 'return' in said:
                return said['return']

    def ask(self, command, **arguments):
        said = self.answer(command, **arguments)
        if isinstance(said, dict) and 'class' in said and 'desc' in said:
            raise ValueError(f'{command}: {said["desc"]}')
        return said


def schema_paths(schema):
    """A line for each command and event, and for all in them by its path.

    The names of types are numbers that say nothing.  A type that has been
    told in the same command is not told again.
    """
    types = {t['name']: t for t in schema}

    def walk(path, name, told):
        t = types[name]
        kind = t['meta-type']
        if kind == 'builtin':
            yield f'{path}: {name}'
        elif kind == 'array':
            yield from walk(path + '[]', t['element-type'], told)
        elif kind == 'enum':
            yield from (f'{path}: {m["name"]} {m.get("features", "")}'
                        for m in t['members'])
        elif name in told:
            yield f'{path}: as before'
        else:
            told.add(name)
            yield f'{path}: {kind} {t.get("features", "")}'
            for m in t.get('members', ()):
                below = f'{path}.{m.get("name", "|")}'
                if 'default' in m:
                    yield f'{below}: optional'
                if 'features' in m:
                    yield f'{below}: {m["features"]}'
                yield from walk(below, m['type'], told)
            for v in t.get('variants', ()):
                yield from walk(f'{path}/{v["case"]}', v['type'], told)

    for t in schema:
        if t['meta-type'] in ('command', 'event'):
            start = f'{t["meta-type"]} {t["name"]}'
            yield f'{start} {t.get("features", "")}'.strip()
            yield from walk(start + ' takes', t['arg-type'], set())
            if 'ret-type' in t:
                yield from walk(start + ' returns', t['ret-type'], set())


class Programs(unittest.TestCase):
    """The emulators, Debian's and the package's."""

    @classmethod
    def setUpClass(cls):
        # Where both environments see it
        cls.directory = tempfile.TemporaryDirectory(dir=f'{BUILD}/deb')
        cls.addClassCleanup(cls.directory.cleanup)
        in_env('dpkg-deb', '-x', package(), cls.directory.name)

    def both(self, arch):
        """The paths of ours and of Debian's."""
        path = f'usr/bin/qemu-system-{arch}'
        return os.path.join(self.directory.name, path), '/' + path

    def compare(self, kind, ask):
        for arch in ARCHES:
            ours, theirs = (list(ask(p)) for p in self.both(arch))
            with self.subTest(arch):
                self.assertGreater(len(theirs), 1)
                self.assertEqual(unwanted(kind, ours, theirs), '')

    def said(self, program, *options):
        """What it says, on both streams: a module that does not fit, too."""
        done = subprocess.run([*IN_ENV, 'qemu-riscv64', program, *options],
                              stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, check=False)
        # The paths of the programs differ.
        return [*done.stdout.replace(program, 'qemu').splitlines(),
                f'status {done.returncode}']

    def test_version(self):
        """Debian's, by which QEMU knows the modules that fit it."""
        self.compare('version', lambda p: self.said(p, '--version'))

    def test_options(self):
        self.compare('options', lambda p: self.said(p, '-help'))

    def test_help(self):
        for option in HELP:
            with self.subTest(option):
                self.compare(f'{option} help', lambda p, o=option:
                             self.said(p, '-machine', 'none', o, 'help'))

    def test_block_drivers(self):
        def formats(program):
            for line in self.said(program, '-drive', 'format=help'):
                head, _, names = line.partition(':')
                yield from (f'{head}: {n}' for n in names.split())

        self.compare('block drivers', formats)

    def test_schema(self):
        def schema(program):
            with Monitor(program, '-machine', 'none') as m:
                return schema_paths(m.ask('query-qmp-schema'))

        self.compare('schema', schema)

    def test_monitor(self):
        def commands(program):
            with Monitor(program, '-machine', 'none') as m:
                return [line for c in ('help', 'help info') for line in
                        m.ask('human-monitor-command',
                              **{'command-line': c}).splitlines()]

        self.compare('monitor', commands)

    def test_types(self):
        """All devices and what else there is, with their properties."""
        def types(program):
            with Monitor(program, '-machine', 'none') as m:
                names = [t['name'] for t in m.ask('qom-list-types')]
                yield from names
                for t in m.ask('qom-list-types', implements='device',
                               abstract=False):
                    name = t['name']
                    found = m.answer('device-list-properties', typename=name)
                    if isinstance(found, dict):
                        yield f'{name}.: {found["desc"]}'
                        continue
                    yield from (f'{name}.{p["name"]} {p["type"]} '
                                f'{p.get("default-value", "")}'
                                for p in found)

        self.compare('types', types)

    def test_accel(self):
        def properties(program):
            for accel in ('kvm', 'tcg'):
                with Monitor(program, '-machine', 'none') as m:
                    found = m.answer('qom-list-properties',
                                     typename=f'{accel}-accel')
                    if isinstance(found, dict):
                        yield f'{accel}: {found["desc"]}'
                        continue
                    yield from (f'{p["name"]} {p["type"]}' for p in found)

        self.compare('accel properties', properties)

    def test_modules_work(self):
        """Debian's modules, with devices that are made of them."""
        ours, _ = self.both('riscv64')
        with Monitor(ours, '-machine', 'virt', '-device', 'virtio-gpu-pci',
                     '-device', 'qemu-xhci', '-device', 'usb-ccid',
                     '-device', 'ccid-card-passthru,chardev=c',
                     '-chardev', 'null,id=c', '-chardev', 'null,id=r',
                     '-device', 'usb-redir,chardev=r') as m:
            # The bridge, and two on PCI
            self.assertEqual(len(m.ask('query-pci')[0]['devices']), 3)


class Package(unittest.TestCase):
    def fields(self, text):
        """By their names; what has commas as a set."""
        found = {}
        for m in re.finditer(r'^([\w-]+): (.*(?:\n .*)*)', text, re.MULTILINE):
            found[m[1]] = m[2]
        return {f'{name}: {word}' for name, value in found.items()
                if name not in OF_BUILD
                for word in ([value] if name == 'Description' else
                             re.split(r',\s*', value))}

    def debian(self, form):
        return in_env('dpkg-query', '-W', '-f', form, f'{PACKAGE}:riscv64')

    def test_fields(self):
        ours = self.fields(in_env('dpkg-deb', '-f', package()))
        theirs = self.fields(in_env('dpkg-query', '-s', f'{PACKAGE}:riscv64'))
        self.assertEqual(unwanted('fields', ours, theirs), '')
        self.assertTrue([f for f in ours if f.startswith('Provides: ')])

    def test_files(self):
        listed = in_env('dpkg-deb', '-c', package())
        ours = {re.split(r'\s+', line, maxsplit=5)[5].split(' -> ')[0]
                .removeprefix('.').rstrip('/') or '/.'
                for line in listed.splitlines()}
        theirs = in_env('dpkg-query', '-L',
                        f'{PACKAGE}:riscv64').splitlines()
        self.assertEqual(unwanted('files', ours, theirs), '')
        for line in listed.splitlines():
            self.assertRegex(line, '^[-dl]rwxr-xr-x root/root|'
                             '^-rw-r--r-- root/root|^lrwxrwxrwx root/root')

    def test_version(self):
        """Newer than Debian's, older than what Debian may bring next."""
        ours = in_env('dpkg-deb', '-f', package(), 'Version').strip()
        theirs = self.debian('${Version}')
        upstream = re.match(r'(.*\.)(\d+)\+ds', theirs)
        for older, newer in (
                (theirs, ours), (ours, theirs + '+b1'),
                (ours, theirs[:-1] + str(int(theirs[-1]) + 1)),
                (ours, f'{upstream[1]}{int(upstream[2]) + 1}+ds-0+deb13u1'),
                (re.sub(r'\d+$', lambda n: str(int(n[0]) - 1), ours), ours)):
            with self.subTest(f'{older} {newer}'):
                in_env('dpkg', '--compare-versions', older, 'lt', newer)

    def test_install(self):
        """apt takes it for a newer one, and nothing else changes."""
        said = in_env('apt-get', '-s', 'install', package())
        steps = re.findall(r'^(?:Inst|Remv) .*$', said, re.MULTILINE)
        self.assertEqual([s.split()[:2] for s in steps],
                         [['Inst', f'{PACKAGE}:riscv64']])

    def test_lintian(self):
        in_env('lintian', '--fail-on', 'error', package())


class Readme(unittest.TestCase):
    """What README.md has operators do with apt, done by apt.

    In the environment for packages, which has Debian's package for riscv64 on
    amd64; what is done to it stays in memory.  The archive must be reached.
    """

    NAME = ('qemu-system-riscv', f'{PACKAGE}:riscv64')

    def setUp(self):
        title = 'Install on Debian 13'
        # It has made the package.
        make, self.install, self.back = readme.blocks(title)
        self.assertEqual(make, 'make deb')
        self.hold = next(c for c in readme.inline(title) if 'hold' in c)

    def run_lines(self, *lines):
        """Runs them one after the other; returns what they say."""
        root = subprocess.run(['scripts/buildenv', 'deb', 'path'], text=True,
                              stdout=subprocess.PIPE, check=True).stdout
        return in_env('bwrap', '--overlay-src', root.strip(), '--tmp-overlay',
                      '/', '--dev', '/dev', '--proc', '/proc', '--perms',
                      '1777', '--tmpfs', '/tmp', '--bind', os.getcwd(),
                      os.getcwd(), '--chdir', os.path.dirname(package()),
                      'sh', '-euc', '\n'.join(lines))

    def test_lines(self):
        version = os.path.basename(package()).split('_')[1]
        asked = f"dpkg-query -W -f 'is ${{Version}}\n' {self.NAME[1]}"
        said = self.run_lines(
            # apt asks before it goes back.
            'yes | ' + readme.used(self.install, [('VERSION', version)]),
            asked, 'apt-get update',
            readme.used(self.hold, [self.NAME]), 'apt-mark showhold',
            f'apt-mark unhold {self.NAME[1]}',
            'yes | ' + readme.used(self.back, [self.NAME]), asked)
        self.assertEqual(
            re.findall(r'^is .*', said, re.MULTILINE),
            [f'is 1:{version}', 'is ' + in_env(
                'dpkg-query', '-W', '-f', '${Version}', self.NAME[1])])
        self.assertRegex(said, rf'(?m)^{self.NAME[1]}$')


class TestOfTheTest(unittest.TestCase):
    SCHEMA = [
        {'name': 'go', 'meta-type': 'command', 'arg-type': '1',
         'ret-type': '2'},
        {'name': '1', 'meta-type': 'object', 'members': [
            {'name': 'how', 'type': '3'},
            {'name': 'next', 'type': '1', 'default': None}]},
        {'name': '2', 'meta-type': 'object', 'members': []},
        {'name': '3', 'meta-type': 'enum', 'members': [{'name': 'fast'}]}]

    def test_schema(self):
        before = list(schema_paths(self.SCHEMA))
        renamed = json.loads(re.sub(r'"(\d)"', r'"\g<1>7"',
                                    json.dumps(self.SCHEMA)))
        self.assertEqual(before, list(schema_paths(renamed)))
        renamed[3]['members'].append({'name': 'slow'})
        self.assertEqual(unwanted('schema', schema_paths(renamed), before),
                         '+ command go takes.how: slow ')

    def test_unwanted(self):
        self.assertEqual(unwanted('monitor', ['info riscv-kvm-faults -- x'],
                                  ['info pci']), '- info pci')


if __name__ == '__main__':
    tapunit.main()
