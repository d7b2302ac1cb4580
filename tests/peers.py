# SPDX-License-Identifier: GPL-2.0-or-later
"""The migration qtest as source and as destination, both on this machine.

   tests/peers.py BUILDDIR    (in the build environment)

The guests have the emulated AIA; tests/lab/test_cross_qtest.py has KVM's.
"""

import base64
import glob
import json
import os
import re
import shutil
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


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Instance:
    def __init__(self, role, port, ways=('live',), **env):
        self.role = role
        env = os.environ | {
            'QTEST_QEMU_BINARY': QEMU, 'QTEST_RISCV_AIA_TCG': '1',
            'QTEST_RISCV_AIA_GUESTS': GUESTS, 'QTEST_RISCV_AIA_PEER': role,
            'QTEST_RISCV_AIA_PEER_ADDRESS': f'127.0.0.1:{port}'} | env
        self.process = subprocess.Popen(
            ['bash', 'tests/lab/each-case', TEST,
             *(f'{PREFIX}tick/{way}' for way in ways)],
            env=env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def end(self):
        """The results of the cases in their order, and all that was said."""
        said = self.process.communicate(timeout=600)[0]
        print(re.sub('^', f'{self.role}: ', said, flags=re.MULTILINE))
        return re.findall(rf'^(ok|not ok) \d+ {PREFIX}', said,
                          re.MULTILINE), said


class Peers(unittest.TestCase):
    def setUp(self):
        self.port = free_port()

    def tearDown(self):
        """No QEMU is left behind, in this process namespace."""
        for file in glob.glob('/proc/[0-9]*/comm'):
            try:
                with open(file, encoding='utf-8') as f:
                    self.assertNotIn('qemu-system', f.read())
            except FileNotFoundError:
                pass

    def run_both(self, ways=('live',), **env):
        """ENV is the destination's."""
        both = [Instance('destination', self.port, ways, **env),
                Instance('source', self.port, ways)]
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
        both = [Instance(role, port) for role, port in
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
                source = Instance('source', self.port)
                with server.accept()[0] as sock:
                    sock.sendall(line.encode() + b'\n')
                    results, all_said = source.end()
                self.assertEqual(results, ['not ok'])
                self.assertIn(said, all_said)

    def test_link(self):
        """It goes down when the guest is about to move; the next one moves."""
        def pump(a, b, until):
            while data := a.recv(65536):
                b.sendall(data)
                if until and until in data:
                    break
            for sock in (a, b):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

        there = Instance('destination', self.port, ('live', 'stopped'))
        with socket.create_server(('127.0.0.1', 0)) as server:
            here = Instance('source', server.getsockname()[1],
                            ('live', 'stopped'))
            for until in (b'listen', None):
                a = server.accept()[0]
                b = self.connect()
                threads = [threading.Thread(target=pump, args=args) for args in
                           ((a, b, None), (b, a, until))]
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                a.close()
                b.close()
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

        def back(a, b):
            while data := a.recv(65536):
                b.sendall(data)

        there = Instance('destination', self.port)
        with socket.create_server(('127.0.0.1', 0)) as server:
            here = Instance('source', server.getsockname()[1])
            with server.accept()[0] as a, self.connect() as b:
                thread = threading.Thread(target=back, args=(b, a))
                thread.start()
                with a.makefile('rb') as lines:
                    for line in lines:
                        b.sendall(damage(line))
                        if b'"note"' in line:
                            break
                # Until the destination has ended
                thread.join()
        for instance, said in ((there, r'riscv_imsic: byte 40 of \d+ is'),
                               (here, 'destination has gone')):
            results, all_said = instance.end()
            self.assertEqual(results, ['not ok'])
            self.assertRegex(all_said, said)

    def connect(self):
        """To the destination, which tells nobody when it listens."""
        while True:
            try:
                return socket.create_connection(('127.0.0.1', self.port))
            except ConnectionRefusedError:
                time.sleep(0.1)


if __name__ == '__main__':
    tapunit.main()
