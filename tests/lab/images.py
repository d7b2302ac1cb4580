# SPDX-License-Identifier: GPL-2.0-or-later
"""What hosts and guests boot: kernels, their modules, and initramfs."""

import hashlib
import lzma
import os
import re
import shutil
import subprocess
import tempfile
import time

from events import LabError
from places import CACHE, HERE, machine_path

GUEST_MODULES = ('virtio_net', 'virtio_blk', 'virtio_balloon', 'virtio_scsi',
                 'sd_mod')
# Of a host or guest with debian.py's disk
DEBIAN_MODULES = ('virtio_blk', 'ext4', 'crc32c_generic', 'autofs4')
DAY = 24 * 3600


class Kernel:
    """A kernel image, and the modules that belong to it."""

    def __init__(self, name):
        env = {'stable': 'LAB_KERNEL_STABLE', 'testing': 'LAB_KERNEL_TESTING',
               'backports': 'LAB_KERNEL_BACKPORTS'}
        self.name = name
        if name in env:
            base = os.environ[env[name]]
            self.image = os.path.join(base, 'vmlinux')
        else:
            self.image = machine_path(name)
            base = os.path.dirname(self.image)
        if not os.path.isfile(self.image):
            raise LabError(f'kernel {name}: no such file')
        with open(self.image, 'rb') as f:
            head = f.read(0x40)
        if head[0x30:0x35] != b'RISCV':
            raise LabError(f'kernel {name}: not a riscv64 kernel image '
                           '(arch/riscv/boot/Image of a build is one)')
        self.modules = os.path.join(base, 'modules')
        self._files = {}
        for directory, _, names in os.walk(self.modules + '/'):
            for n in names:
                m = re.fullmatch(r'(.+)\.ko(\.xz)?', n)
                if m:
                    self._files[m[1].replace('-', '_')] = \
                        os.path.join(directory, n)

    def load_order(self, wanted):
        """Contents of the wanted modules and what they need, needs first.

        A module the kernel does not have is taken to be built in.
        """
        order = {}

        def add(name):
            if name in order or name not in self._files:
                return
            with open(self._files[name], 'rb') as f:
                data = f.read()
            if self._files[name].endswith('.xz'):
                data = lzma.decompress(data)
            needs = re.search(rb'\0depends=([^\0]*)\0', data)
            for need in needs[1].decode().split(',') if needs else ():
                add(need.replace('-', '_'))
            order[name] = data

        for name in wanted:
            add(name)
        return order


class Cpio:
    """An initramfs in the making."""

    def __init__(self):
        self._out = bytearray()
        self._dirs = set()

    def _entry(self, name, mode, data):
        def pad():
            self._out.extend(bytes(-len(self._out) % 4))

        fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        self._out += b'070701' + b''.join(b'%08x' % f for f in fields)
        self._out += name.encode() + b'\0'
        pad()
        self._out += data
        pad()

    def _parents(self, name):
        parent = os.path.dirname(name)
        if parent and parent not in self._dirs:
            self._parents(parent)
            self._dirs.add(parent)
            self._entry(parent, 0o040755, b'')

    def add(self, name, data, mode=0o644):
        self._parents(name)
        self._entry(name, 0o100000 | mode, data)

    def add_file(self, name, path, mode=0o755):
        with open(path, 'rb') as f:
            self.add(name, f.read(), mode)

    def add_modules(self, modules):
        for name, data in modules.items():
            self.add(f'modules/{name}.ko', data)
        self.add('modules/order', ''.join(f'{m}\n' for m in modules).encode())

    def write(self, path):
        end = len(self._out)
        self._entry('TRAILER!!!', 0, b'')
        with open(path, 'wb') as f:
            f.write(self._out)
        del self._out[end:]


def busybox():
    return os.path.join(os.environ['LAB_HOSTROOT'], 'usr/bin/busybox')


def agent():
    """QEMU's guest agent, and the libraries that it needs."""
    usr = os.path.join(os.environ['LAB_HOSTROOT'], 'usr')
    found = {}

    def add(path):
        if path in found:
            return
        with open(os.path.join(usr, path), 'rb') as f:
            found[path] = f.read()
        said = subprocess.run(
            ['riscv64-linux-gnu-readelf', '-d', os.path.join(usr, path)],
            check=True, stdout=subprocess.PIPE, text=True).stdout
        for name in re.findall(r'\(NEEDED\).*\[(.+)\]', said):
            loader = name.startswith('ld-linux')
            add(os.path.join('lib' if loader else 'lib/riscv64-linux-gnu',
                             name))

    add('sbin/qemu-ga')
    return found


def guest_directory():
    """The directory that hosts see as /guest; made when its parts change."""
    stable, testing = Kernel('stable'), Kernel('testing')
    guests = {'': (stable, GUEST_MODULES),
              '.testing': (testing, GUEST_MODULES),
              '.debian': (stable, GUEST_MODULES + DEBIAN_MODULES)}
    sources = [os.path.join(HERE, 'guest', name)
               for name in ('heartbeat.c', 'load.c', 'traffic.c')]
    parts = [__file__, os.path.join(HERE, 'guest/init'),
             os.path.join(HERE, 'guest/heartbeat.h'), *sources]
    parts += [os.path.join(os.path.dirname(k.image), 'release')
              for k in (stable, testing)]
    key = hashlib.sha256(busybox().encode())
    for part in parts:
        with open(part, 'rb') as f:
            key.update(f.read())
    base = os.path.join(CACHE, 'lab')
    final = os.path.join(base, f'guest-{key.hexdigest()[:12]}')
    if os.path.isdir(final):
        return final
    os.makedirs(base, exist_ok=True)
    for name in os.listdir(base):
        # No host is up for that long.
        if time.time() - os.stat(os.path.join(base, name)).st_mtime > 7 * DAY:
            shutil.rmtree(os.path.join(base, name), ignore_errors=True)
    d = tempfile.mkdtemp(dir=base)
    os.chmod(d, 0o755)
    program = os.path.join(d, 'heartbeat')
    done = subprocess.run(
        ['riscv64-linux-gnu-gcc', '-static', '-O2', '-Wall', '-Wextra',
         '-Werror', '-pthread', '-o', program, *sources],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False)
    if done.returncode:
        raise LabError(f'cannot compile the guest program:\n{done.stdout}')
    for suffix, (kernel, modules) in guests.items():
        cpio = Cpio()
        cpio.add_file('init', os.path.join(HERE, 'guest/init'))
        cpio.add_file('bin/busybox', busybox())
        cpio.add_file('bin/heartbeat', program)
        cpio.add_modules(kernel.load_order(modules))
        cpio.write(os.path.join(d, f'initrd{suffix}'))
        if not suffix:
            for name, data in agent().items():
                cpio.add(name, data, 0o755)
            cpio.write(os.path.join(d, 'initrd.agent'))
        os.link(os.path.realpath(kernel.image),
                os.path.join(d, f'Image{suffix}'))
    try:
        os.rename(d, final)
    except OSError:
        # Another run was faster.
        shutil.rmtree(d)
    return final
