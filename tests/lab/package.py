# SPDX-License-Identifier: GPL-2.0-or-later
"""The package of make deb, installed in the hosts."""

import glob
import hashlib
import os
import shutil
import subprocess
import tempfile

from events import LabError
from places import BUILD, TOP

DEB = os.path.join(BUILD, 'deb')
EMULATOR = '/usr/bin/qemu-system-riscv64'


def _digest(path):
    with open(path, 'rb') as f:
        return hashlib.file_digest(f, 'sha256').hexdigest()


def _source():
    """The key of what the package would be made of now."""
    done = subprocess.run(['scripts/deb', 'source'], cwd=TOP, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False)
    if done.returncode:
        raise LabError(done.stderr.strip())
    return done.stdout.strip()


class Package:
    """What make deb has left.

    Its file is None where that is not made of this checkout; what it is
    called, or why it is not used, is in its words.
    """

    def __init__(self, directory=DEB, source=_source):
        self.file = None
        self._directory = directory
        found = glob.glob(os.path.join(glob.escape(directory),
                                       'qemu-system-riscv_*_riscv64.deb'))
        if len(found) != 1:
            self.words = ('make deb has made no package' if not found else
                          f'there are {len(found)} packages in {directory}')
            return
        name = os.path.basename(found[0])
        try:
            with open(os.path.join(directory, '.source')) as f:
                made = f.read().split()
        except FileNotFoundError:
            self.words = f'nothing tells what {name} was made of (make deb)'
            return
        if made != [source(), _digest(found[0])]:
            self.words = f'{name} is not of this source any more (make deb)'
            return
        self.file = found[0]
        self.words = name

    def root(self):
        """The user space of a host, with the package in it.

        As apt would have it: it takes the place of Debian's, of which the
        tests need one program too.  What it depends on is there, because
        Debian's depends on the same (tests/deb.py).
        """
        base = os.environ['LAB_HOSTROOT']
        key = hashlib.sha256(f'{base} {_digest(self.file)}'.encode())
        final = os.path.join(self._directory, f'root-{key.hexdigest()[:12]}')
        if os.path.isdir(final):
            return final
        for path in glob.glob(os.path.join(glob.escape(self._directory),
                                           'root-*')):
            shutil.rmtree(path)
        root = tempfile.mkdtemp(dir=self._directory)
        for command in (
                ['cp', '-a', '--reflink=auto', os.path.join(base, 'usr'),
                 root],
                ['mkdir', f'{root}/usr/libexec/stock'],
                ['mv', root + EMULATOR, f'{root}/usr/libexec/stock/'],
                ['dpkg-deb', '-x', self.file, root]):
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.STDOUT, check=False)
            if done.returncode:
                shutil.rmtree(root)
                raise LabError(f'{command[0]}: {done.stdout.strip()}')
        os.rename(root, final)
        return final
