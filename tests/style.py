# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own files: no warning of QEMU's flags, no word from checkpatch and the
   linters of shell and Python, and mutants that apply.

   tests/style.py BUILDDIR    (in the build environment, from the checkout)
"""

import glob
import json
import os
import re
import shlex
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'runner'))
import tapunit  # noqa: E402

BUILD = os.path.abspath(sys.argv.pop(1))
# What is laid over QEMU, see configure
OVERLAY = ('hw', 'include', 'migration', 'target', 'tests/qtest', 'tests/unit')


def own_files(*dirs, suffixes=('.c', '.h')):
    for top in dirs:
        for path, subdirs, names in os.walk(top):
            subdirs[:] = [d for d in subdirs if d != '__pycache__']
            for name in sorted(names):
                if name.endswith(suffixes):
                    yield os.path.join(path, name)


def shell_scripts():
    for path in own_files('.ci', 'scripts', 'tests', suffixes=('',)):
        with open(path, 'rb') as f:
            if f.readline().startswith((b'#!/bin/sh', b'#!/bin/busybox sh')):
                yield path
    yield from ('configure', 'scripts/common.sh')


class StyleTest(unittest.TestCase):
    def check(self, *command):
        """The command has nothing to say, and ends well."""
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, check=False)
        self.assertEqual((done.stdout, done.returncode), ('', 0))

    def test_warnings(self):
        """Compiles what QEMU's build compiles of ours, with -Werror."""
        ours = {os.path.realpath(f) for f in own_files(*OVERLAY)}
        seen = set()
        words = []
        for build in ('riscv64', 'native'):
            directory = os.path.join(BUILD, build)
            with open(os.path.join(directory, 'compile_commands.json'),
                      encoding='utf-8') as f:
                commands = json.load(f)
            for c in commands:
                source = os.path.realpath(os.path.join(directory, c['file']))
                if source not in ours:
                    continue
                seen.add(source)
                command = shlex.split(c['command']) + ['-Werror']
                # What the build has made stays as it is.
                for option in ('-o', '-MF'):
                    command[command.index(option) + 1] = '/tmp/style.out'
                done = subprocess.run(command, cwd=directory, text=True,
                                      stderr=subprocess.PIPE, check=False)
                if done.returncode:
                    words.append(done.stderr)
        self.assertEqual('\n'.join(words), '')
        self.assertEqual({f for f in ours if f.endswith('.c')} - seen, set())

    def test_checkpatch(self):
        script = os.path.join(BUILD, 'qemu/scripts/checkpatch.pl')
        files = list(own_files(*OVERLAY, 'tests/fuzz', 'tests/guests',
                               'tests/lab'))
        self.assertTrue([f for f in files if f.startswith('migration/')])
        self.check('perl', script, '--no-tree', '--no-summary', '--terse',
                   '-f', *files)

    def test_shell(self):
        scripts = list(shell_scripts())
        self.assertIn('scripts/check', scripts)
        # Lists in variables are meant to be split.
        self.check('shellcheck', '--format=gcc', '--severity=warning',
                   '--exclude=SC2046', *scripts)

    def test_python(self):
        files = list(own_files('scripts', 'tests', suffixes='.py'))
        self.assertIn('tests/style.py', files)
        self.check('pyflakes3', *files)
        self.check('pycodestyle', *files)

    def test_series(self):
        """Each patch is for some version of QEMU, and each that is named is
           there."""
        with open('patches/series', encoding='utf-8') as f:
            named = {line.split()[0] for line in f if '.patch' in line and
                     not line.startswith('#')}
        self.assertTrue(named)
        self.assertEqual({f'patches/{name}' for name in named},
                         set(glob.glob('patches/*.patch')))

    def test_hooks(self):
        """QEMU's own files are changed by less than 60 lines, whatever its
           version; what migration-test needs comes on top."""
        said = subprocess.run(
            ['sh', '-c', 'top=.; . scripts/common.sh; '
             'for v in $(qemu_versions); do echo $(patch_files $v); done'],
            stdout=subprocess.PIPE, text=True, check=True).stdout
        self.assertTrue(said)
        for line in said.splitlines():
            changed = 0
            for name in line.split():
                if not name.startswith('patches/tests-'):
                    with open(name, encoding='utf-8') as f:
                        changed += sum(bool(re.match(r'[+-](?!\+\+ |-- )', x))
                                       for x in f)
            self.assertGreater(changed, 0)
            self.assertLess(changed, 60, line)

    def test_mutants(self):
        """A change can leave a mutant behind, which runs in the long form.

        One that applies with fuzz may be where it changes nothing."""
        patches = sorted(glob.glob('tests/mutants/*.patch'))
        self.assertTrue(patches)
        for name in patches:
            with self.subTest(name), open(name, encoding='utf-8') as f:
                subprocess.run(['patch', '-p1', '-sN', '--fuzz=0',
                                '--dry-run'], stdin=f, check=True)


if __name__ == '__main__':
    tapunit.main()
