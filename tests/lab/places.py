# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are, on this machine and in the build environment."""

import os

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TOP, os.environ.get('BUILDDIR') or 'build')
FORK = os.path.join(BUILD, 'riscv64/qemu-system-riscv64')
RUNS = os.path.join(BUILD, 'lab')
CACHE = os.environ.get('QEMU_AIA_CACHE', '')
# Where tests/lab/enter has put the files of the user's machine.
MACHINE = os.environ.get('LAB_MACHINE', '/tmp/machine')


def machine_path(path):
    """The place in here of a path the user gave."""
    path = os.path.join(os.environ.get('LAB_CWD', os.getcwd()), path)
    return os.path.normpath(f'{MACHINE}/{path}')
