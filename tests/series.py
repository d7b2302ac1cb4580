# SPDX-License-Identifier: GPL-2.0-or-later
"""What "make series" writes, and what it refuses.

   tests/series.py    (in the build environment)
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / 'tests/runner'))
import tapunit  # noqa: E402

AUTHOR = ('--name', 'A Tester', '--email', 'tester@example.org')


def run(*command, **kwargs):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **kwargs)


def trees():
    """QEMU's source of each version that ./configure has fetched"""
    cache = pathlib.Path(os.environ['QEMU_AIA_CACHE'])
    return sorted(cache.glob('qemu-*/qemu/VERSION'))


class Scratch(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)

    def write(self, tree):
        done = run('python3', 'scripts/series.py', '--qemu', str(tree),
                   '--out', str(self.dir / 'series'), *AUTHOR, cwd=TOP)
        return done, sorted((self.dir / 'series').glob('*.patch'))


class SeriesTest(Scratch):
    def test_applies(self):
        """To the whole tree, where checkpatch has nothing to say"""
        self.assertTrue(trees())
        for version in trees():
            with self.subTest(version.read_text().strip()):
                tree = version.parent
                done, patches = self.write(tree)
                self.assertEqual(done.returncode, 0, done.stdout)
                self.assertGreater(len(patches), 10)
                self.check_am(tree, patches[1:])

    def check_am(self, tree, patches):
        """Of the tree what the patches are about will do."""
        work = self.dir / 'work'
        shutil.rmtree(work, ignore_errors=True)
        for patch in patches:
            for path in re.findall('^--- a/(.*)', patch.read_text(), re.M):
                if (tree / path).exists():
                    (work / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(tree / path, work / path)
        git = ('git', '-C', str(work), '-c', 'user.name=x', '-c',
               'user.email=x@example.org')
        run('git', 'init', '-q', str(work), check=True)
        run(*git, 'add', '-A', check=True)
        run(*git, 'commit', '-q', '-m', 'QEMU', check=True)
        for patch in patches:
            done = run(*git, 'am', '-q', str(patch))
            self.assertEqual(done.returncode, 0, done.stdout)
            self.check_named(tree, work, patch)

    def check_named(self, tree, work, patch):
        """What its files name of this checkout is in the series, too."""
        changed = re.findall(r'^\+\+\+ b/(.*)', patch.read_text(), re.M)
        for path in map(pathlib.Path, changed):
            if path.suffix in ('.c', '.h'):
                pattern = '^#include "(.*)"'
            elif path.name == 'meson.build':
                pattern = r"'([^']*\.c)'"
            else:
                continue
            for name in re.findall(pattern, (work / path).read_text(), re.M):
                for to in (path.parent / name, 'include/' + name, name):
                    if (TOP / to).is_file() and not (tree / to).exists():
                        self.assertTrue((work / to).exists(),
                                        f'{patch.name}: {path}: {name}')

    def test_own_left_out(self):
        """No workaround, and no word of the fork"""
        _, patches = self.write(trees()[0].parent)
        text = '\n'.join(p.read_text() for p in patches[1:])
        for word in ('AIA_FORK', 'QEMU_SINCE', 'faults/', 'stale_csrs',
                     'vcpu-extra', 'kvm_riscv_guest_file', 'precede',
                     'migration/savevm.c', ' fork'):
            self.assertFalse(word in text, word)
        self.assertTrue('Signed-off-by: A Tester <tester@example.org>' in text)
        self.assertFalse('***' in patches[0].read_text())

    def test_does_not_fit(self):
        """Which hook, which line, what was expected"""
        tree = self.dir / 'tree'
        shutil.copytree(trees()[0].parent, tree, symlinks=True)
        path = tree / 'hw/intc/riscv_aplic.c'
        path.write_text(path.read_text().replace('qdev_new(TYPE_RISCV_APLIC)',
                                                 'other()'))
        done, patches = self.write(tree)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('hw-intc-aplic.patch does not fit', done.stdout)
        self.assertIn('qdev_new(TYPE_RISCV_APLIC)', done.stdout)
        self.assertEqual(patches, [])


class RefusedTest(Scratch):
    """By scripts/series, in a checkout of its own"""

    def setUp(self):
        super().setUp()
        self.top = self.dir / 'top'
        shutil.copytree(TOP / 'scripts', self.top / 'scripts')
        self.env = dict(os.environ, HOME=str(self.dir),
                        GIT_CONFIG_NOSYSTEM='1')
        self.git('init', '-q')
        self.git('config', 'user.name', 'A Tester')
        self.git('config', 'user.email', 'tester@example.org')
        self.git('add', '-A')
        self.git('commit', '-q', '-m', 'all')

    def git(self, *args):
        run('git', '-C', str(self.top), *args, check=True, env=self.env)

    def check_refused(self, why, *args):
        done = run('scripts/series', *args, cwd=self.top, env=self.env)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(why, done.stdout)
        self.assertFalse((self.top / 'build/series').exists())

    def test_no_identity(self):
        self.git('config', '--unset', 'user.email')
        self.check_refused('git config user.email')

    def test_dirty(self):
        (self.top / 'scripts/new').write_text('')
        self.check_refused('not committed')

    def test_no_qemu(self):
        self.check_refused('no QEMU source tree', str(self.dir))

    def test_not_configured(self):
        self.check_refused('run ./configure first')


if __name__ == '__main__':
    os.chdir(TOP)
    tapunit.main()
