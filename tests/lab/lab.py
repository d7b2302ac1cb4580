# SPDX-License-Identifier: GPL-2.0-or-later
"""Emulated RISC-V hosts with KVM and AIA.

A Host is one QEMU without KVM, on this machine, that runs Debian's kernel
with its KVM module.  Everything between this program and a host goes through
virtio-serial ports, whose other ends are Unix sockets, and through a
directory shared by 9p.  Guests are in guests.py.
"""

import fcntl
import os
import re
import select
import selectors
import shlex
import shutil
import socket
import subprocess
import tempfile
import time

from events import LabError, LabTimeout, left, receive, selector, wait_for
from images import Cpio, DAY, Kernel, busybox, guest_directory
from lan import Lan, MTU
from package import EMULATOR
from places import BUILD, FORK, HERE, RUNS, TOP, machine_path

# What the programs use of all this
__all__ = ['BOOT_TIMEOUT', 'BUILD', 'FORK', 'HERE', 'Host', 'Job', 'Kernel',
           'LabError', 'LabTimeout', 'MTU', 'TOP', 'left', 'machine_path',
           'receive', 'selector']

# What an emulated host needs to mount its files, to reach the others and to
# run guests.
HOST_MODULES = ('9pnet_virtio', '9p', 'virtio_net', 'kvm')
# Slots for guests: each has ports for QMP, the guest's serial port, and its
# heartbeat where that has a wire of its own.
SLOTS = 3
# Emulation is slow and the machine may be busy: an event that has not come
# by then will not come.
BOOT_TIMEOUT = 300


def remove_old_runs():
    """Removes what ended runs left behind: a kill leaves no time for it.

    The logs of a run that failed stay for a day.
    """
    os.makedirs(RUNS, exist_ok=True)
    for name in os.listdir(RUNS):
        path = os.path.join(RUNS, name)
        try:
            if os.path.exists(os.path.join(path, 'failed')) and \
               time.time() - os.stat(path).st_mtime < DAY:
                continue
            with open(os.path.join(path, 'alive')) as f:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            # In use, or another run removes it.
            pass


class Host:
    """One emulated host."""

    def __init__(self, name='lab', kernel='stable', cpus=2, cpu='rva23s64',
                 memory=1024, guest_files=3, lan=None, index=None,
                 modules=(), interactive=False, package=None, disk=None,
                 root=None):
        """Starts it; with a Package installed, if that has a file.

        Disk is a file that is its /dev/vda, root where its user space is, if
        that is not Debian 13's.
        """
        self.name = name
        self.kernel = Kernel(kernel)
        self.release = None
        self.lan = None
        self._qemu = None
        self._pidfd = None
        self._jobs = 0
        self._done = {}
        self._line = b''
        self._ctl = None
        self._outputs = {}
        self._sinks = {}
        self.failure = None
        self._options = (cpus, cpu, memory, guest_files, modules, interactive,
                         disk)
        self.package = package if package and package.file else None
        self._root = (self.package.root() if self.package else
                      root or os.environ['LAB_HOSTROOT'])
        # The fork's QEMU, in there
        self.emulator = (EMULATOR if self.package else
                         '/fork/qemu-system-riscv64')
        remove_old_runs()
        self.dir = tempfile.mkdtemp(prefix=f'{name}-', dir=RUNS)
        self._alive = open(os.path.join(self.dir, 'alive'), 'w')
        fcntl.flock(self._alive, fcntl.LOCK_EX)
        self.share = os.path.join(self.dir, 'share')
        os.mkdir(self.share)
        self.console = os.path.join(self.dir, 'console.log')
        self._initrd = os.path.join(self.dir, 'initrd')
        # Not below the checkout, whose path may be too long for a socket.
        self._sockets = tempfile.mkdtemp()
        try:
            if lan:
                self.lan = Lan(lan, index)
            self._start()
        except BaseException:
            self.close(keep_logs=self._qemu is not None)
            raise

    def _start(self):
        cpus, cpu, memory, guest_files, modules, interactive, disk = \
            self._options
        cpio = Cpio()
        cpio.add_file('init', os.path.join(HERE, 'init'))
        cpio.add_file('bin/busybox', busybox())
        cpio.add('etc/passwd', b'root:x:0:0:root:/root:/bin/sh\n')
        cpio.add_modules(self.kernel.load_order((*HOST_MODULES, *modules)))
        cpio.write(self._initrd)

        cols, rows = shutil.get_terminal_size()
        ports = ['ctl', 'out', 'err']
        for i in range(SLOTS):
            ports += [f'qmp{i}', f'tty{i}', f'beat{i}']
        settings = {
            'checkout': TOP, 'build': BUILD, 'name': self.name,
            'rows': rows, 'cols': cols,
            'term': os.environ.get('TERM', 'linux'),
            'ip': self.lan.ip if self.lan else '',
            'interactive': '1' if interactive else '',
            'installed': '1' if self.package else '',
            'ports': ' '.join(ports),
        }
        with open(os.path.join(self.share, 'settings'), 'w') as f:
            for k, v in settings.items():
                f.write(f'{k}={shlex.quote(str(v))}\n')

        cmd = ['qemu-system-riscv64', '-nodefaults', '-no-user-config',
               '-display', 'none', '-no-reboot',
               '-machine', f'virt,aia=aplic-imsic,aia-guests={guest_files}',
               '-cpu', cpu, '-smp', str(cpus), '-m', str(memory),
               '-kernel', self.kernel.image, '-initrd', self._initrd,
               '-append', 'console=ttyS0 panic=-1',
               '-serial', f'file:{self.console}']
        shares = [
            ('share', self.share, ''),
            ('hostroot', os.path.join(self._root, 'usr'), ',readonly=on'),
            ('guest', guest_directory(), ',readonly=on'),
            ('checkout', TOP, ',readonly=on')]
        if self.lan:
            shares.append(('lan', self.lan.files, ''))
        for tag, path, mode in shares:
            cmd += ['-fsdev', f'local,id={tag},path={path},'
                    f'security_model=none{mode},multidevs=remap',
                    '-device', f'virtio-9p-pci,fsdev={tag},mount_tag={tag}']
        cmd += ['-device', 'virtio-serial-pci,max_ports=16']
        for port in ports:
            cmd += ['-chardev', f'socket,id={port},server=on,wait=off,'
                    f'path={self.socket_path(port)}',
                    '-device', f'virtserialport,chardev={port},name={port}']
        if disk:
            cmd += ['-drive', f'file={disk},format=raw,if=virtio']
        if interactive:
            cmd += ['-chardev', 'stdio,id=tty,mux=on,signal=off',
                    '-mon', 'chardev=tty',
                    '-device', 'virtconsole,chardev=tty']
        if self.lan:
            cmd += self.lan.options()
        self._log = open(os.path.join(self.dir, 'qemu.log'), 'wb')
        self._qemu = subprocess.Popen(
            cmd, stderr=self._log,
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=None if interactive else subprocess.DEVNULL)
        self._pidfd = os.pidfd_open(self._qemu.pid)
        selector.register(self._pidfd, selectors.EVENT_READ, self._on_end)
        self._ctl = self.connect('ctl')
        selector.register(self._ctl, selectors.EVENT_READ, self._on_ctl)
        for port in ('out', 'err'):
            sock = self.connect(port)
            self._outputs[port] = sock
            self._sinks[port] = None
            selector.register(sock, selectors.EVENT_READ,
                              lambda port=port: self._on_output(port))

    def socket_path(self, port):
        return os.path.join(self._sockets, port)

    def connect(self, port):
        """A new connection to a port of the host."""
        sock = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 30
        while True:
            try:
                sock.connect(self.socket_path(port))
                return sock
            except (FileNotFoundError, ConnectionRefusedError):
                # QEMU makes its sockets right after its start, and nothing
                # tells of it but the socket.
                if select.select([self._pidfd], [], [], 0.01)[0]:
                    self._on_end()
                    raise self.failure from None
                if not left(deadline):
                    raise LabTimeout(f'{self.name}: its emulator does not '
                                     'open its sockets') from None

    @staticmethod
    def forget(fd):
        """Hears of this file no more."""
        if fd is not None and fd in selector.get_map():
            selector.unregister(fd)

    def _on_end(self):
        """The emulator has ended, by itself."""
        self.forget(self._pidfd)
        status = self._qemu.wait()
        with open(self._log.name, errors='replace') as f:
            why = f.read().strip()
        tail = log = ''
        if os.path.exists(self.console):
            with open(self.console, errors='replace') as f:
                tail = ''.join(f.readlines()[-15:])
            log = f'console log: {self.console}'
        self.failure = self.failure or LabError('\n'.join(filter(None, (
            f'host {self.name} is gone (status {status})', why,
            tail.rstrip(), log))))

    def _on_ctl(self):
        """The host's init has said something."""
        data = receive(self._ctl)
        if not data:
            self.forget(self._ctl)
        *lines, self._line = (self._line + data).split(b'\n')
        for line in lines:
            verb, _, rest = line.decode(errors='replace').partition(' ')
            if verb == 'error':
                self.failure = LabError(f'host {self.name}: {rest}\n'
                                        f'console log: {self.console}')
            elif verb == 'up':
                self.release = rest
            elif verb == 'done':
                job, _, status = rest.partition(' ')
                self._done[job] = int(status)

    def _on_output(self, port):
        """A command has printed something."""
        data = receive(self._outputs[port])
        if not data:
            self.forget(self._outputs[port])
        elif self._sinks[port]:
            self._sinks[port](data)

    def wait(self, condition, timeout, what):
        """Like wait_for, but raises what has happened to the host."""
        def check():
            if self.failure:
                raise self.failure
            return condition()
        return wait_for(check, timeout, f'host {self.name}: {what}')

    def wait_up(self, timeout=BOOT_TIMEOUT):
        """Waits until the host takes commands."""
        try:
            self.wait(lambda: self.release, timeout, 'waiting for its boot')
        except LabTimeout as e:
            raise LabTimeout(f'{e}; console log: {self.console}') from None
        return self

    def send(self, sock, data):
        """Sends data to one of the host's ports."""
        try:
            sock.sendall(data)
        except OSError as e:
            # The reason comes, at the latest, with the emulator's end.
            wait_for(lambda: self.failure, 10, f'host {self.name}: {e}')
            raise self.failure from None

    def _job(self, verb, script):
        self.wait_up()
        self._jobs += 1
        job = f'job{self._jobs}'
        with open(os.path.join(self.share, f'{job}.sh'), 'w') as f:
            f.write(f'echo $$ >/share/{job}.pid\n{script}\n')
        self.send(self._ctl, f'{verb} {job}\n'.encode())
        return job

    def run(self, script, timeout=300, stdout=None, stderr=None):
        """Runs a shell script; returns its status and what it printed.

        Output goes to the functions stdout and stderr instead, if given, as
        it comes.
        """
        collected = bytearray()
        self._sinks = {'out': stdout or collected.extend,
                       'err': stderr or collected.extend}
        job = self._job('run', script)
        self.wait(lambda: job in self._done, timeout,
                  f'waiting for the end of: {script}')
        # A port hands a write over before the write returns, so what the
        # command printed is here by now.
        for port, sock in self._outputs.items():
            while sock in selector.get_map() and \
                    select.select([sock], [], [], 0)[0]:
                self._on_output(port)
        return self._done.pop(job), collected.decode(errors='replace')

    def check(self, script, timeout=300):
        """Runs a script that must succeed; returns what it printed."""
        status, output = self.run(script, timeout)
        if status:
            raise LabError(f'host {self.name}: status {status} from: '
                           f'{script}\n{output}')
        return output

    def passes_on_illegal_instructions(self):
        """Whether a guest can meet an illegal instruction and live.

        The first vector instruction of a program is one.  KVM before 6.17
        lets the firmware have them, and the firmware cannot give them back:
        QEMU 10.0.13 as the outer emulator loses its write to mstatus.MPV.
        """
        version = re.match(r'(\d+)\.(\d+)', self.release)
        return (int(version[1]), int(version[2])) >= (6, 17)

    def finished(self, job):
        """The exit status of a job that has one, else None."""
        return self._done.get(job)

    def spawn(self, script):
        """Starts a script in the background; returns its Job."""
        return Job(self, self._job('spawn', script))

    def start_shell(self):
        """Interactive: lets the shell start."""
        self.send(self._ctl, b'shell -\n')

    def wait_end(self, timeout=None):
        """Interactive: until the user has left."""
        wait_for(lambda: self.failure, timeout, f'host {self.name}')

    def close(self, keep_logs=False):
        """Ends the host at once, with all that runs in it."""
        if self._qemu:
            self._qemu.kill()
            self._qemu.wait()
            self._qemu = None
            self.failure = LabError(f'host {self.name} has been ended')
            for fd in (self._pidfd, self._ctl, *self._outputs.values()):
                self.forget(fd)
        if self.lan:
            self.lan.close()
            self.lan = None
        shutil.rmtree(self._sockets, ignore_errors=True)
        self._alive.close()
        if keep_logs:
            open(os.path.join(self.dir, 'failed'), 'w').close()
            if os.path.exists(self._initrd):
                os.unlink(self._initrd)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close(keep_logs=kind is not None)


class Job:
    """A command in the background of a host."""

    def __init__(self, host, name):
        self.host = host
        self.name = name

    @property
    def status(self):
        """Its exit status once it has one, else None."""
        return self.host.finished(self.name)

    def _read(self, stream):
        path = os.path.join(self.host.share, f'{self.name}.{stream}')
        try:
            with open(path, errors='replace') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def kill(self):
        """Ends what has taken the place of its shell by exec."""
        if self.status is None:
            self.host.run(f'kill -9 "$(cat /share/{self.name}.pid)"')

    def pid(self):
        """Of what has taken the place of its shell by exec."""
        with open(os.path.join(self.host.share, f'{self.name}.pid')) as f:
            return int(f.read())

    def stdout(self):
        return self._read('out')

    def stderr(self):
        return self._read('err')
