# SPDX-License-Identifier: GPL-2.0-or-later
"""The migration qtest as source and as destination, both on this machine.

   tests/peers.py BUILDDIR    (in the build environment)

The guests have the emulated AIA; tests/lab/test_cross_qtest.py has KVM's.
"""

import base64
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), 'runner'))
import tapunit  # noqa: E402

BUILD = os.path.abspath(sys.argv.pop(1))
TEST = os.path.join(BUILD, 'native/tests/qtest/riscv-aia-migration-test')
QEMU = os.path.join(BUILD, 'native/qemu-system-riscv64')
GUESTS = os.path.join(BUILD, 'guests')
PREFIX = '/riscv64/riscv-aia/cross/'
WAYS = ('stopped', 'live', 'multifd', 'multifd-zlib', 'multifd-zstd',
        'postcopy')

# How long an instance may take for all that it is given
PATIENCE_S = 300


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Instance:
    """It ends with TEST at the latest."""

    def __init__(self, test, role, port, ways=('live',), **env):
        self.role = role
        env = os.environ | {
            'QTEST_QEMU_BINARY': QEMU, 'QTEST_RISCV_AIA_TCG': '1',
            'QTEST_RISCV_AIA_GUESTS': GUESTS, 'QTEST_RISCV_AIA_PEER': role,
            'QTEST_RISCV_AIA_PEER_ADDRESS': f'127.0.0.1:{port}'} | env
        self.process = subprocess.Popen(
            ['bash', 'tests/lab/each-case', TEST,
             *(f'{PREFIX}tick/{way}' for way in ways)],
            env=env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True)
        test.addCleanup(self.kill)

    def kill(self):
        """Its QEMUs, too; tells what it has said if that was not asked for."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.tell(self.process.communicate()[0])

    def tell(self, said):
        print(re.sub('^', f'{self.role}: ', said, flags=re.MULTILINE))

    def end(self):
        """The results of the cases in their order, and all that was said."""
        said = self.process.communicate(timeout=PATIENCE_S)[0]
        self.tell(said)
        return re.findall(rf'^(ok|not ok) \d+ {PREFIX}', said,
                          re.MULTILINE), said


class Peers(unittest.TestCase):
    def setUp(self):
        self.port = free_port()
        # After all others, which end what they have started.
        self.addCleanup(self.check_ended)

    def check_ended(self):
        """No QEMU is left behind, in this process namespace."""
        for file in glob.glob('/proc/[0-9]*/comm'):
            try:
                with open(file, encoding='utf-8') as f:
                    self.assertNotIn('qemu-system', f.read())
            except FileNotFoundError:
                pass

    def run_both(self, ways=('live',), **env):
        """ENV is the destination's."""
        both = [Instance(self, 'destination', self.port, ways, **env),
                Instance(self, 'source', self.port, ways)]
        return [i.end() for i in both]

    def check_refused(self, what, theirs, ours, **env):
        theirs += ' on the destination'
        ours += ' on the source'
        for (results, said), words in zip(self.run_both(**env), (
                f'{what}: {theirs}, {ours}', f'{what}: {ours}, {theirs}')):
            self.assertEqual(results, ['not ok'])
            self.assertRegex(said, words)

    def test_ways(self):
        for results, _ in self.run_both(WAYS):
            self.assertEqual(results, ['ok'] * len(WAYS))

    def test_nobody(self):
        """Who waits in vain for the one or the other."""
        both = [Instance(self, role, port) for role, port in
                (('source', self.port), ('destination', free_port()))]
        for instance, said in zip(both, ('no destination: .*refused',
                                         'no source: nobody connects to')):
            results, all_said = instance.end()
            self.assertEqual(results, ['not ok'])
            self.assertRegex(all_said, said)

    def test_files(self):
        self.check_refused('guest interrupt files of a CPU', '3', '7',
                           QTEST_RISCV_AIA_FILES='3')

    def test_guests(self):
        with tempfile.TemporaryDirectory() as other:
            shutil.copy(os.path.join(GUESTS, 'tick.elf'), other)
            with open(os.path.join(other, 'tick.elf'), 'ab') as f:
                f.write(b'other')
            self.check_refused(r'guest \(its checksum\)', r'"\w+"', r'"\w+"',
                               QTEST_RISCV_AIA_GUESTS=other)

    def test_version(self):
        """A peer of another version, and one that is something else"""
        for line, said in (
                (json.dumps({'protocol': 0, 'role': 'destination'}),
                 'version of the test: 1 on the source, 0 on the destination'),
                ('SSH-2.0', 'does not say that it is the destination')):
            with self.subTest(line), socket.create_server(
                    ('127.0.0.1', self.port)) as server:
                source = Instance(self, 'source', self.port)
                with server.accept()[0] as sock:
                    sock.sendall(line.encode() + b'\n')
                    results, all_said = source.end()
                self.assertEqual(results, ['not ok'])
                self.assertIn(said, all_said)

    def test_link(self):
        """It goes down when the guest is about to move; the next one moves."""
        there = Instance(self, 'destination', self.port, ('live', 'stopped'))
        with self.listen() as server:
            here = Instance(self, 'source', server.getsockname()[1],
                            ('live', 'stopped'))
            self.relay(server, until=b'listen')
            self.relay(server)
        for instance, other in ((there, 'source'), (here, 'destination')):
            results, said = instance.end()
            self.assertEqual(results, ['not ok', 'ok'])
            self.assertIn(f'connection to the {other} has gone', said)

    def test_comparison(self):
        """A bit of an interrupt file is another one when it has come."""
        def damage(line):
            message = json.loads(line)
            if 'note' in message:
                state = bytearray(base64.b64decode(message['guest']))
                at = state.index(b'riscv_imsic') + len('riscv_imsic') + 8
                state[at + 40] ^= 1
                message['guest'] = base64.b64encode(state).decode()
            return json.dumps(message).encode() + b'\n'

        there = Instance(self, 'destination', self.port)
        with self.listen() as server:
            here = Instance(self, 'source', server.getsockname()[1])
            self.relay(server, change=damage)
        for instance, said in ((there, r'riscv_imsic: byte 40 of \d+ is'),
                               (here, 'destination has gone')):
            results, all_said = instance.end()
            self.assertEqual(results, ['not ok'])
            self.assertRegex(all_said, said)

    def listen(self):
        """For the source"""
        server = socket.create_server(('127.0.0.1', 0))
        server.settimeout(PATIENCE_S)
        return server

    def connect(self):
        """To the destination, which tells nobody when it listens."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return socket.create_connection(('127.0.0.1', self.port))
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def relay(self, server, change=lambda line: line, until=None):
        """Stands between the source and the destination until either ends.

        CHANGE gets each line of the source, UNTIL is in the destination's
        last one.
        """
        def forward(sender, receiver, change, until):
            with contextlib.suppress(OSError), sender.makefile('rb') as lines:
                for line in lines:
                    receiver.sendall(change(line))
                    if until and until in line:
                        break
            for sock in (sender, receiver):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

        with server.accept()[0] as source, self.connect() as destination:
            back = threading.Thread(target=forward, args=(
                destination, source, lambda line: line, until))
            back.start()
            forward(source, destination, change, None)
            back.join()


if __name__ == '__main__':
    tapunit.main()
