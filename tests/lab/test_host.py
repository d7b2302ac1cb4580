# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of tests/lab/host itself."""

import hashlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import unittest

import tapunit
from package import Package

HERE = os.path.dirname(os.path.abspath(__file__))


def processes():
    """The emulators and hubs that run in here."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as f:
                line = f.read().replace(b'\0', b' ').decode()
        except OSError:
            continue
        if re.match(r'qemu-system\S+ |\S*python\S* \S*hub\.py ', line):
            found.append(int(pid))
    return found


class HostTest(unittest.TestCase):
    """Each test is one run of the program, as the user would start it."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name

    def host(self, *args, **kwargs):
        # In here the machine's files are our own.
        env = dict(os.environ, LAB_MACHINE='/', LAB_CWD=self.scratch)
        return subprocess.run(
            [sys.executable, os.path.join(HERE, 'host.py'), *args], env=env,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=300, check=False, **kwargs)

    def path(self, *names):
        return os.path.join(self.scratch, *names)

    def interrupt(self, h):
        """Ends a host with Ctrl-C, to which the program has an answer."""
        h.send_signal(signal.SIGINT)
        h.communicate(timeout=60)
        return h.returncode

    def test_streams_and_status(self):
        """Output and status of the command are those of the program."""
        r = self.host('--', 'sh', '-c', 'cat; echo out; echo err >&2; exit 7')
        self.assertEqual(r.stdout, 'out\n')
        self.assertRegex(r.stderr, r'(?m)^err$')
        self.assertEqual(r.returncode, 7)

    def test_all_output(self):
        """Nothing is lost of a large output, and nothing is changed."""
        r = self.host('--', 'seq', '1', '200000')
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(r.stdout.split(),
                         [str(i) for i in range(1, 200001)])

    def test_what_is_there(self):
        """KVM, both emulators, the guest, and the harts that were wanted."""
        r = self.host('--cpus', '3', '--kernel', 'testing', '--', 'sh', '-ec',
                      'test -c /dev/kvm; nproc; uname -r; '
                      'qemu-system-riscv64.stock --version; '
                      'command -v qemu-system-riscv64; '
                      'test -s /guest/Image; test -s /guest/initrd')
        self.assertEqual(r.returncode, 0, r.stderr)
        lines = r.stdout.splitlines()
        self.assertEqual(lines[0], '3')
        self.assertNotRegex(lines[1], r'^6\.12\.')
        self.assertIn('Debian', lines[2])
        self.assertEqual(lines[-1], '/opt/bin/qemu-system-riscv64')

    def test_timeout(self):
        """A command that takes too long is ended with status 124."""
        r = self.host('--timeout', '25', '--', 'sh', '-c',
                      'echo begun; sleep 1000')
        self.assertEqual(r.returncode, 124)
        self.assertEqual(r.stdout, 'begun\n')
        self.assertIn('--timeout', r.stderr)
        self.assertEqual(processes(), [])

    def test_put_and_get(self):
        os.mkdir(self.path('dir'))
        for name in ('file', 'dir/with space'):
            with open(self.path(name), 'w') as f:
                f.write(f'this is {name}\n')
        r = self.host('--put', 'dir', '--put', 'file:/data/renamed',
                      '--put', self.path('file'),
                      '--get', '/root/made:got', '--get', '/root/dir:gotdir',
                      '--', 'sh', '-ec',
                      'cat file /data/renamed "dir/with space"; '
                      'echo made >made; exit 5')
        self.assertEqual(r.stdout, 'this is file\n' * 2 +
                         'this is dir/with space\n', r.stderr)
        self.assertEqual(r.returncode, 5, r.stderr)
        with open(self.path('got')) as f:
            self.assertEqual(f.read(), 'made\n')
        with open(self.path('gotdir/with space')) as f:
            self.assertEqual(f.read(), 'this is dir/with space\n')

    def test_get_of_nothing(self):
        r = self.host('--get', '/nowhere:got', '--', 'true')
        self.assertEqual(r.returncode, 125)
        self.assertIn('/nowhere', r.stderr)

    def test_no_kvm(self):
        """A host without the hypervisor extension says what is missing."""
        r = self.host('--cpu', 'rv64,h=false', '--', 'true')
        self.assertEqual(r.returncode, 125)
        self.assertIn('/dev/kvm', r.stderr)

    def test_no_such_cpu(self):
        r = self.host('--cpu', 'nonsense', '--', 'true')
        self.assertEqual(r.returncode, 125)
        self.assertIn('nonsense', r.stderr)

    def test_panic(self):
        """A host that panics is told from a command that fails."""
        r = self.host('--', 'sh', '-c',
                      'echo c >/proc/sysrq-trigger; sleep 99')
        self.assertEqual(r.returncode, 125)
        self.assertIn('panic', r.stderr)
        log = re.search(r'console log: (\S+)', r.stderr)
        self.assertTrue(os.path.getsize(log[1]))

    def test_bad_options(self):
        """Wrong options are named, and nothing is started."""
        for args, word in (
                (['--bogus'], '--bogus'),
                (['--cpus', '0', '--', 'true'], '--cpus'),
                (['--cpus', 'two', '--', 'true'], 'two'),
                (['--memory', '1', '--', 'true'], '--memory'),
                (['--guest-files', '8', '--', 'true'], '--guest-files'),
                (['--kernel', 'missing', '--', 'true'], 'missing'),
                (['--kernel', '/etc/passwd', '--', 'true'], 'kernel image'),
                (['--lan', 'x', '--', 'true'], '--index'),
                (['--index', '1', '--', 'true'], '--lan'),
                (['--lan', 'x', '--index', '0', '--', 'true'], '--index'),
                (['--lan', 'a/b', '--index', '1', '--', 'true'], 'a/b'),
                (['--timeout', '-1', '--', 'true'], '--timeout'),
                (['--put', 'missing', '--', 'true'], 'missing'),
                (['--get', 'no-colon', '--', 'true'], 'PATH:DEST'),
                (['--get', '/x:/no/such/directory/x', '--', 'true'],
                 'directory'),
                (['true'], "'--'"),
                ([], 'terminal')):
            with self.subTest(args=args):
                r = self.host(*args)
                self.assertEqual(r.returncode, 2, r.stderr)
                self.assertIn(word, r.stderr)
                self.assertNotIn('booting', r.stderr)

    def test_shell(self):
        """Without a command there is a shell on the terminal."""
        leader, terminal = pty.openpty()
        h = subprocess.Popen(
            [sys.executable, os.path.join(HERE, 'host.py')], stdin=terminal,
            stdout=terminal, stderr=terminal,
            env=dict(os.environ, LAB_MACHINE='/', LAB_CWD=self.scratch))
        os.close(terminal)
        self.addCleanup(h.kill)
        seen = b''

        def expect(what):
            nonlocal seen
            while what not in seen:
                self.assertTrue(select.select([leader], [], [], 120)[0],
                                f'{what!r} not in {seen!r}')
                seen += os.read(leader, 4096)
            seen = seen[seen.index(what) + len(what):]

        expect(b'leave with')
        expect(b'~ # ')
        os.write(leader, b'echo $((6 * 7)); pwd; stty size\n')
        expect(b'\n42\r')
        expect(b'\n/root\r')
        expect(b'\n24 80\r')
        os.write(leader, b'exit\n')
        self.assertEqual(h.wait(timeout=60), 0)

    def test_lan(self):
        """Hosts reach one another and share files; an index is taken once."""
        lan = f'test-{os.getpid()}'
        hosts = []
        env = dict(os.environ, LAB_MACHINE='/', LAB_CWD=self.scratch)
        # Each waits for both of the others, and ends when both have come.
        script = ('echo "file of $ME" >/lan/$ME; '
                  'for i in 1 2 3; do nc -l -p $((i + 9000)); done & '
                  'for i in 1 2 3; do until echo "from $ME" | '
                  'nc 10.0.0.$i $((ME + 9000)); do :; done; done; wait; '
                  'cat /lan/1 /lan/2 /lan/3; '
                  # A host that left now might leave a peer half served.
                  'sleep 1000')
        for i in (1, 2, 3):
            # A full pipe that nobody reads would stop the host behind it.
            with open(self.path(f'err{i}'), 'w') as err:
                hosts.append(subprocess.Popen(
                    [sys.executable, os.path.join(HERE, 'host.py'),
                     '--lan', lan, '--index', str(i), '--timeout', '600',
                     '--', 'env', f'ME={i}', 'sh', '-c', script],
                    env=env, text=True, stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=err))
            self.addCleanup(self.interrupt, hosts[-1])
        for i, h in enumerate(hosts, 1):
            lines = [h.stdout.readline() for _ in range(6)]
            with open(self.path(f'err{i}')) as err:
                words = err.read()
            self.assertEqual(lines, [f'{what} {i}\n'
                                     for what in ('from', 'file of')
                                     for i in (1, 2, 3)], words)
            self.assertIn('booting', words.splitlines()[0])
        r = self.host('--lan', lan, '--index', '1', '--', 'true')
        self.assertEqual(r.returncode, 125)
        self.assertIn('index 1 already', r.stderr)
        for h in hosts:
            self.assertEqual(self.interrupt(h), 130)

    def test_nothing_left_behind(self):
        """A kill of what the user started ends everything."""
        # The build environment cannot be entered from within, so this makes
        # what it is made of: a process namespace that dies with its parent.
        h = subprocess.Popen(
            ['unshare', '--user', '--map-root-user', '--pid', '--fork',
             '--kill-child', sys.executable, os.path.join(HERE, 'host.py'),
             '--lan', f'test-{os.getpid()}', '--index', '1',
             '--', 'sh', '-c', 'echo begun; sleep 1000'],
            env=dict(os.environ, LAB_MACHINE='/'), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(h.communicate)
        self.addCleanup(h.kill)
        self.assertEqual(h.stdout.readline(), 'begun\n')
        pids = [os.pidfd_open(pid) for pid in processes()]
        self.assertEqual(len(pids), 2)
        h.kill()
        for pid in pids:
            self.assertTrue(select.select([pid], [], [], 60)[0])
            os.close(pid)
        self.assertEqual(processes(), [])


class PackageTest(unittest.TestCase):
    """A package of another source is not taken, and it is said why."""

    NAME = 'qemu-system-riscv_1_riscv64.deb'

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name

    def write(self, name, text):
        with open(os.path.join(self.scratch, name), 'w') as f:
            f.write(text)

    def found(self, words):
        package = Package(self.scratch, lambda: 'now')
        self.assertIn(words, package.words)
        return package.file

    def test_package(self):
        self.assertIsNone(self.found('make deb has made no package'))
        self.write(self.NAME, 'package')
        self.assertIsNone(self.found('nothing tells what'))
        digest = hashlib.sha256(b'package').hexdigest()
        self.write('.source', f'now {digest}')
        self.assertEqual(self.found(self.NAME),
                         os.path.join(self.scratch, self.NAME))
        self.write('.source', f'before {digest}')
        self.assertIsNone(self.found('is not of this source any more'))
        self.write('.source', f'now {digest}')
        self.write(self.NAME, 'another')
        self.assertIsNone(self.found('is not of this source any more'))
        self.write('qemu-system-riscv_2_riscv64.deb', 'package')
        self.assertIsNone(self.found('there are 2 packages'))


if __name__ == '__main__':
    # A shell has its background jobs ignore this, and they pass that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tapunit.main()
