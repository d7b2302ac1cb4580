# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own files: no warning of QEMU's flags, no word from checkpatch, and
   mutants that apply.

   tests/style.py BUILDDIR    (in the build environment, from the checkout)
"""

import glob
import json
import os
import shlex
import subprocess
import sys
import unittest

import pycotap

BUILD = os.path.abspath(sys.argv.pop(1))


def own_files(*dirs):
    for top in dirs:
        for path, _, names in os.walk(top):
            for name in sorted(names):
                if name.endswith(('.c', '.h')):
                    yield os.path.join(path, name)


class StyleTest(unittest.TestCase):
    def test_warnings(self):
        """Compiles what QEMU's build compiles of ours, with -Werror."""
        ours = {os.path.realpath(f) for f in own_files(
            'hw', 'include', 'target', 'tests/qtest', 'tests/unit')}
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
        files = list(own_files('hw', 'include', 'target', 'tests'))
        self.assertTrue(files)
        done = subprocess.run(
            ['perl', script, '--no-tree', '--no-summary', '--terse', '-f',
             *files], stdout=subprocess.PIPE, text=True, check=False)
        words = [w for w in done.stdout.splitlines()
                 if ': ERROR:' in w or ': WARNING:' in w]
        self.assertEqual(words, [])

    def test_mutants(self):
        """A change can leave a mutant behind, which runs in the long form."""
        patches = sorted(glob.glob('tests/mutants/*.patch'))
        self.assertTrue(patches)
        for name in patches:
            with self.subTest(name), open(name, encoding='utf-8') as f:
                subprocess.run(['patch', '-p1', '-sN', '--dry-run'], stdin=f,
                               check=True)


if __name__ == '__main__':
    unittest.main(testRunner=pycotap.TAPTestRunner(
        test_output_log=pycotap.LogMode.LogToError))
