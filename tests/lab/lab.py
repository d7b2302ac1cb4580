# SPDX-License-Identifier: GPL-2.0-or-later
"""Emulated RISC-V hosts with KVM and AIA.

A Host is one QEMU without KVM, on this machine, that runs Debian's kernel
with its KVM module.  Everything between this program and a host goes through
virtio-serial ports, whose other ends are Unix sockets, and through a
directory shared by 9p.  Guests are in guests.py.
"""

import fcntl
import glob
import hashlib
import lzma
import os
import re
import select
import selectors
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TOP, os.environ.get('BUILDDIR') or 'build')
FORK = os.path.join(BUILD, 'riscv64/qemu-system-riscv64')
RUNS = os.path.join(BUILD, 'lab')
CACHE = os.environ.get('QEMU_AIA_CACHE', '')
# Where tests/lab/enter has put the files of the user's machine.
MACHINE = os.environ.get('LAB_MACHINE', '/tmp/machine')

# What an emulated host needs to mount its files, to reach the others and to
# run guests.
HOST_MODULES = ('9pnet_virtio', '9p', 'virtio_net', 'kvm')
GUEST_MODULES = ('virtio_net', 'virtio_blk')
# Slots for guests: each has ports for QMP, the guest's serial port, and its
# heartbeat where that has a wire of its own.
SLOTS = 2
# Emulation is slow and the machine may be busy: an event that has not come
# by then will not come.
BOOT_TIMEOUT = 300
MTU = 16000
DAY = 24 * 3600


class LabError(Exception):
    """Something the user can be told as it stands."""


class LabTimeout(LabError):
    """An awaited event did not come in time."""


def left(deadline):
    """Seconds until deadline, None for ever; never negative."""
    if deadline is None:
        return None
    return max(0, deadline - time.monotonic())


# Whatever is awaited, everything that arrives is taken in at once: a port
# that nobody reads would hold up the guest that writes to it.
selector = selectors.DefaultSelector()


def wait_for(condition, timeout, what):
    """Handles what arrives until condition() is true; returns its value."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if left(deadline) == 0:
            raise LabTimeout(f'{what}: nothing after {timeout:.0f} s')
        for key, _ in selector.select(left(deadline)):
            # One handler may have closed the file of the next.
            if selector.get_map().get(key.fd) is key:
                key.data()


def receive(sock):
    """What a socket has; b'' at its end."""
    try:
        return sock.recv(65536)
    except ConnectionResetError:
        return b''


def machine_path(path):
    """The place in here of a path the user gave."""
    path = os.path.join(os.environ.get('LAB_CWD', os.getcwd()), path)
    return os.path.normpath(f'{MACHINE}/{path}')


class Kernel:
    """A kernel image, and the modules that belong to it."""

    def __init__(self, name):
        env = {'stable': 'LAB_KERNEL_STABLE', 'testing': 'LAB_KERNEL_TESTING'}
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
        self._entry('TRAILER!!!', 0, b'')
        with open(path, 'wb') as f:
            f.write(self._out)


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


def busybox():
    return os.path.join(os.environ['LAB_HOSTROOT'], 'usr/bin/busybox')


def guest_directory():
    """The directory that hosts see as /guest; made when its parts change."""
    kernels = {'': Kernel('stable'), '.testing': Kernel('testing')}
    sources = [os.path.join(HERE, 'guest', name)
               for name in ('heartbeat.c', 'traffic.c')]
    parts = [__file__, os.path.join(HERE, 'guest/init'),
             os.path.join(HERE, 'guest/heartbeat.h'), *sources]
    parts += [os.path.join(os.path.dirname(k.image), 'release')
              for k in kernels.values()]
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
    for suffix, kernel in kernels.items():
        cpio = Cpio()
        cpio.add_file('init', os.path.join(HERE, 'guest/init'))
        cpio.add_file('bin/busybox', busybox())
        cpio.add_file('bin/heartbeat', program)
        cpio.add_modules(kernel.load_order(GUEST_MODULES))
        cpio.write(os.path.join(d, f'initrd{suffix}'))
        os.link(os.path.realpath(kernel.image),
                os.path.join(d, f'Image{suffix}'))
    try:
        os.rename(d, final)
    except OSError:
        # Another run was faster.
        shutil.rmtree(d)
    return final


class Lan:
    """This host's place on a LAN: a datagram socket, and a hub somewhere.

    Each host brings a hub process along; the first to get the lock does the
    work, and the next takes over when it goes.
    """

    def __init__(self, name, index):
        # The path of a Unix socket is short, so not in the checkout.
        self._base = os.path.join(MACHINE, f'tmp/riscv-aia-lan-{os.getuid()}')
        self.name = name
        self.dir = os.path.join(self._base, name)
        self.ip = f'10.0.0.{index}'
        self.mac = f'52:54:00:0a:00:{index:02x}'
        self.local = os.path.join(self.dir, str(index))
        # All hosts on the LAN see this as /lan.
        self.files = os.path.join(self.dir, 'files')
        self._make_directory(self._base)
        with self._all_lans():
            self._remove_unused()
            self._make_directory(self.dir)
            self._make_directory(self.files)
            self._lock = open(self.local + '.lock', 'w')
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError(f'LAN {name} has a host with index {index} '
                               'already; choose another --index') from None
        # Left behind, perhaps, by a host that was killed.
        if os.path.exists(self.local):
            os.unlink(self.local)
        self._hub = subprocess.Popen(
            [sys.executable, os.path.join(HERE, 'hub.py'), self.dir],
            stdin=subprocess.PIPE)

    @staticmethod
    def _make_directory(path):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if os.stat(path).st_uid != os.getuid():
                raise LabError(f'{path} belongs to another user') from None

    def _all_lans(self):
        """Held while hosts come and go."""
        lock = open(os.path.join(self._base, '.lock'), 'w')
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def _remove_unused(self):
        """Removes LANs on which no host is left."""
        for name in os.listdir(self._base):
            d = os.path.join(self._base, name)
            if os.path.isdir(d) and not any(map(self._in_use,
                                                glob.glob(f'{d}/*.lock'))):
                shutil.rmtree(d, ignore_errors=True)

    @staticmethod
    def _in_use(path):
        with open(path, 'w') as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
            except BlockingIOError:
                return True

    def options(self):
        hub = os.path.join(self.dir, 'hub')
        return ['-netdev', 'dgram,id=lan,local.type=unix,'
                f'local.path={self.local},remote.type=unix,remote.path={hub}',
                '-device', f'virtio-net-pci,netdev=lan,mac={self.mac},'
                f'host_mtu={MTU},romfile=']

    def close(self):
        self._hub.stdin.close()
        self._hub.wait()
        with self._all_lans():
            if os.path.exists(self.local):
                os.unlink(self.local)
            self._lock.close()
            self._remove_unused()


class Host:
    """One emulated host."""

    def __init__(self, name='lab', kernel='stable', cpus=2, cpu='rva23s64',
                 memory=1024, guest_files=3, lan=None, index=None,
                 modules=(), interactive=False):
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
        self._options = (cpus, cpu, memory, guest_files, modules, interactive)
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
        cpus, cpu, memory, guest_files, modules, interactive = self._options
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
            ('hostroot', os.path.join(os.environ['LAB_HOSTROOT'], 'usr'),
             ',readonly=on'),
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

    def stdout(self):
        return self._read('out')

    def stderr(self):
        return self._read('err')
