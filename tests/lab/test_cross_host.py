# SPDX-License-Identifier: GPL-2.0-or-later
"""Migration of a Linux guest between two hosts with different kernels."""

import itertools
import os
import re
import sys
import unittest

import accesses
import guests
import lab
import tapunit

KERNELS = ('stable', 'testing')


class CrossHostTest(unittest.TestCase):
    """Two hosts, which all tests of a class share."""

    GUEST_FILES = dict.fromkeys(KERNELS, 7)
    failed = False

    @classmethod
    def host_options(cls):
        """The names of the hosts, and what is special to each."""
        return {k: {'kernel': k, 'guest_files': cls.GUEST_FILES[k]}
                for k in KERNELS}

    @classmethod
    def setUpClass(cls):
        lan = f'cross-host-{os.getpid()}-{os.urandom(3).hex()}'
        cls.hosts = {}
        for index, (name, options) in enumerate(cls.host_options().items(), 1):
            host = lab.Host(name, lan=lan, index=index, **options)
            cls.addClassCleanup(cls.put_away, host)
            cls.hosts[name] = host
        for host in cls.hosts.values():
            host.wait_up()
        next(iter(cls.hosts.values())).check('ping -c 1 -W 30 10.0.0.2')

    @classmethod
    def put_away(cls, host):
        if cls.failed:
            print(f'# logs: {host.dir}', file=sys.stderr)
        host.close(keep_logs=cls.failed)

    def failures(self):
        """How many tests have failed."""
        result = self._outcome.result
        return len(result.failures) + len(result.errors)

    def note_failure(self):
        if self.failures() > self.failures_before:
            type(self).failed = True

    def setUp(self):
        self.failures_before = self.failures()
        self.addCleanup(self.note_failure)

    def guest(self, kernel, **kwargs):
        guest = guests.Guest(self.hosts[kernel], **kwargs)
        self.addCleanup(guest.kill)
        return guest

    def destination(self, source, kernel, **kwargs):
        return self.guest(kernel, harts=source.harts, console=source.console,
                          **kwargs)

    @staticmethod
    def has_vector(guest):
        return guest.host.passes_on_illegal_instructions()

    def there_and_back(self, first, second, there_aia=None, arrived=None,
                       **kwargs):
        """The guest must be whole before, between and after.

        Arrived is called with both QEMUs when it has been sent.
        """
        guest = self.guest(first, **kwargs)
        there_kwargs = {k: v for k, v in kwargs.items() if k != 'harts'}
        last = guest.wait_alive()
        self.assertEqual(last['vector'], int(self.has_vector(guest)))
        for kernel in (second, first):
            if there_aia:
                there_kwargs['aia'] = (kwargs['aia'] if kernel == first
                                       else there_aia)
            there = self.destination(guest, kernel, **there_kwargs)
            info = guests.migrate(guest, there)
            if arrived:
                arrived(guest, there)
            guest.quit()
            there.wait_alive()
            there.say(f'on {kernel}')
            self.assertEqual(guests.lost_beats(there.console.beats), 0)
            print(f'# to {kernel}: {info["total-time"]} ms, downtime '
                  f'{info["downtime"]} ms')
            guest = there
        guest.quit()
        self.assertEqual(guest.job.status, 0)

    def goes_on(self, guest, first):
        """The guest runs where it was, and has lost nothing."""
        guest.wait_alive()
        self.assertEqual(guests.lost_beats(guest.console.beats), 0)
        self.assertEqual(guest.qmp('query-status')['status'], 'running')
        self.assertTrue(all(b['guest'] is guest
                            for b in guest.console.beats[first:]))


class Judgement(unittest.TestCase):
    """What is made of heartbeats, without a guest, and of failures."""

    def test_failure_noted(self):
        """The logs of hosts are kept where a test has failed."""
        class WithoutHosts(CrossHostTest):
            @classmethod
            def setUpClass(cls):
                pass

            def passes(self):
                pass

            def fails(self):
                self.fail()

        for name, failed in (('passes', False), ('fails', True)):
            WithoutHosts(name).run(unittest.TestResult())
            self.assertIs(WithoutHosts.failed, failed)

    @staticmethod
    def beat(n):
        """The n-th heartbeat of a guest that is well."""
        return {
            'seq': n, 'ticks': [10 * n, 9 * n], 'errors': 0,
            'first_error': '', 'net': {'replies': n}, 'blk': {'reads': n},
            'irqs': {name: [n, n] for name in
                     ('timer', 'ipi', 'serial', 'virtio-net', 'virtio-blk')},
            'packets': {'eth1, hart 0': n}, 'blocks': {'hart 0': n},
            'interrupts': {'eth1-input.0': n},
        }

    def test_well(self):
        beats = [self.beat(n) for n in range(1, 5)]
        self.assertEqual(guests.dead_parts(beats[0], beats[3]), [])
        self.assertEqual(guests.lost_beats(beats), 0)

    def test_dead(self):
        """Each part is missed, and called by its name."""
        for path, name in (
                (('ticks', 1), 'load on hart 1'),
                (('irqs', 'timer', 0), 'timer interrupts on hart 0'),
                (('irqs', 'ipi', 1), 'IPIs on hart 1'),
                (('irqs', 'serial'), 'serial interrupts'),
                (('irqs', 'virtio-net'), 'virtio-net interrupts'),
                (('irqs', 'virtio-blk'), 'virtio-blk interrupts'),
                (('net', 'replies'), 'network'),
                (('blk', 'reads'), 'disk'),
                (('packets', 'eth1, hart 0'), 'packets of eth1, hart 0'),
                (('blocks', 'hart 0'), 'blocks of hart 0'),
                (('interrupts', 'eth1-input.0'),
                 'interrupts of eth1-input.0')):
            with self.subTest(name):
                first, last = self.beat(3), self.beat(9)
                old, new = first, last
                for key in path[:-1]:
                    old, new = old[key], new[key]
                new[path[-1]] = old[path[-1]]
                self.assertEqual(guests.dead_parts(first, last), [name])

    def test_lost(self):
        beats = [self.beat(n) for n in (1, 2, 4, 7, 8)]
        self.assertEqual(guests.lost_beats(beats), 3)

    def test_turned_back(self):
        for seq, ticks in ((2, [30, 30]), (3, [30, 17])):
            with self.subTest(seq=seq), self.assertRaises(lab.LabError):
                guests.lost_beats([self.beat(2), self.beat(3) |
                                   {'seq': seq, 'ticks': ticks}])

    def test_serial_port(self):
        """Each of its lines is missed, and anything else is trouble."""
        for lines, trouble in (
                ('quiet\nSEQ 1\nSEQ 2\nSAY SEQ 4\nSEQ 3\n', []),
                ('Press a key SEQ 1\nSEQ 2\n', []),
                ('SEQ 1\nPress a key SEQ 2\n', ['Press a key SEQ 2']),
                ('SEQ 1\nSEQ 3\nSEQ 4\n', ['SEQ 3']),
                ('SEQ 1\nSEQ 1\n', ['SEQ 1']),
                ('SEQ 1\nSEQ[ 7.1] no irq handler\n',
                 ['SEQ[ 7.1] no irq handler']),
                ('[ 1.0] watchdog: hard LOCKUP\n',
                 ['[ 1.0] watchdog: hard LOCKUP'])):
            with self.subTest(lines):
                console = guests.Console(os.devnull)
                for c in lines:
                    console.take(None, 'tty', c.encode())
                self.assertEqual(console.trouble, trouble)

    def test_return(self):
        """A guest that is to go back does so once, on each wire."""
        console = guests.Console(os.devnull)
        console.expect_return()
        for text in ('SEQ 1\nSEQ 2\n', 'boots\nSEQ 1\nSEQ 2\n'):
            self.assertFalse(console.returned())
            console.take(None, 'tty', text.encode())
            console.take(None, 'beat', b'HB {"seq":1}\nHB {"seq":2}\n')
        self.assertTrue(console.returned())
        self.assertEqual([b['seq'] for b in console.beats], [1, 2])
        self.assertEqual(console.trouble, [])
        console.take(None, 'tty', b'SEQ 2\nboots\n')
        self.assertEqual(console.trouble, ['SEQ 2', 'boots'])

    def test_corruption(self):
        with self.assertRaisesRegex(lab.LabError, 'hart 0: f7'):
            guests.lost_beats([self.beat(1), self.beat(2) | {
                'errors': 1, 'first_error': 'hart 0: f7 is wrong'}])


class Moves(CrossHostTest):
    """There and back."""

    def test_auto_4_harts_from_stable(self):
        """Also what that costs on each kernel: accesses to the AIA, bytes."""
        self.there_and_back('stable', 'testing', arrived=self.count_accesses,
                            aia='auto', harts=4, devices=accesses.TRACES)

    def count_accesses(self, guest, there):
        save, load = guest.traces(), there.traces()
        self.check_accesses(guest, save, 'save', accesses.most_of_save)
        self.check_accesses(there, load, 'load', accesses.most_of_load)
        there.wait_alive()
        there.add_disk()
        there.qmp('stop')
        for command in ('snapshot-save', 'snapshot-load'):
            there.traces()
            there.snapshot(command)
        self.check_accesses(there, there.traces(), 'load',
                            accesses.most_of_loadvm)
        self.check_bytes(there)
        there.qmp('cont')

    def check_accesses(self, guest, text, way, most_of):
        found, most = accesses.total(text, way), most_of(guest.harts)
        print(f'# {guest.host.name}: {found} accesses for a {way}, '
              f'{most_of.__name__}: {most}')
        self.assertLessEqual(found, most)

    def check_bytes(self, guest):
        stream = os.path.join(guest.host.share, 'stream')
        guests.send(guest, 'file:/share/stream')
        with open(stream, 'rb') as f:
            data = f.read()
        os.unlink(stream)
        guest.traces()
        for name, most in accesses.MOST_BYTES.items():
            found = accesses.section_bytes(data, name)
            print(f'# {guest.host.name}: {name}: {found} bytes')
            self.assertEqual(len(found), guest.harts if 'imsic' in name else 1)
            self.assertLess(max(found), most)

    def test_hwaccel_3_harts_from_testing(self):
        self.there_and_back('testing', 'stable', aia='hwaccel', harts=3)

    def test_guest_without_kernel(self):
        """A QEMU that does not start says why."""
        with self.assertRaisesRegex(lab.LabError, 'missing'):
            self.guest('stable', image='.missing')

    def test_guest_that_panics(self):
        """A guest that does not come up is noticed, and its words shown."""
        guest = self.guest('stable', arguments='rdinit=/missing')
        with self.assertRaisesRegex(lab.LabError, 'Kernel panic'):
            guest.wait_beats(1)


class MoreMoves(CrossHostTest):
    """For the long form."""

    def test_emul_1_hart_from_stable(self):
        self.there_and_back('stable', 'testing', aia='emul', harts=1)

    def test_split_2_harts_from_testing(self):
        # Wires of such a guest interrupt hart 0 only: docs/qemu-facts.md.
        self.there_and_back('testing', 'stable', irqchip='split', harts=2,
                            arguments='irqaffinity=0')

    def test_memory_not_allocated(self):
        """Before its move from 7.2, the guest gets what it has not used."""
        self.there_and_back('stable', 'testing', harts=4, prealloc=False)


class Failures(CrossHostTest):
    """What goes wrong must not harm the guest."""

    # For the two harts of a host together too few for the guest's four
    GUEST_FILES = dict.fromkeys(KERNELS, 1)

    def test_hwaccel_without_files(self):
        """More harts than files: some wait, and it is told why."""
        guest = self.guest('stable', aia='hwaccel', harts=4)
        guest.wait(lambda: 'waits until CPU' in guest.job.stderr(), 120,
                   'waiting for the reason')
        guest.qmp('stop')
        guest.qmp('cont')
        self.assertEqual(guest.qmp('query-status')['status'], 'running')
        self.assertNotIn('sstatus', guest.job.stderr())

    def start_slow(self, guest, uri):
        """Begins a migration that will not end by itself."""
        guests.begin(guest, uri, **{'max-bandwidth': 1 << 20})
        guest.wait(lambda: 'active' in guests.migration_states(guest), 60,
                   'waiting for the migration to begin')

    def test_destination_killed(self):
        """The destination's QEMU dies, and the next one gets the guest."""
        guest = self.guest('stable', aia='auto', harts=4)
        guest.wait_alive()
        first = len(guest.console.beats)
        there = self.destination(guest, 'testing')
        uri = guests.listen(there)
        self.start_slow(guest, uri)
        there.kill()
        guest.wait(lambda: guests.ended(guest), 60, 'waiting for a failure')
        with self.assertRaisesRegex(guests.MigrationFailed, 'failed'):
            guests.outcome(guest, uri)
        self.goes_on(guest, first)
        guest.qmp('migrate-set-parameters', **{'max-bandwidth': 1 << 30})
        there = self.destination(guest, 'testing')
        guests.migrate(guest, there)
        guest.quit()
        there.wait_alive()
        self.assertEqual(guests.lost_beats(there.console.beats), 0)

    def test_vanishing_host(self):
        """The other host loses its power: the source can give up."""
        lan = self.hosts['stable'].lan
        other = lab.Host('vanishing', kernel='testing', lan=lan.name, index=3)
        self.addCleanup(other.close)
        guest = self.guest('stable')
        other.wait_up()
        guest.wait_alive()
        first = len(guest.console.beats)
        there = guests.Guest(other, console=guest.console)
        self.start_slow(guest, guests.listen(there))
        other.close()
        guest.wait_alive()
        guest.qmp('migrate_cancel')
        guest.wait(lambda: guests.ended(guest), 120,
                   'waiting for the end of the migration')
        self.goes_on(guest, first)


class Counters(CrossHostTest):
    """Performance counters, of which KVM tells nothing."""

    def check_counting(self, guest, what='count'):
        """WHAT is "count" for a new counter, "close" for the open one."""
        counted = re.fullmatch(r'counted (\d+)', guest.ask(what))
        self.assertTrue(counted)
        self.assertIn(int(counted[1]), range(10 ** 6, 1 << 40),
                      guest.host.name)

    def check_refused(self, guest, there):
        """With one in use the guest goes on where it was."""
        first = len(guest.console.beats)
        self.assertEqual(guest.ask('open'), 'yes')
        with self.assertRaisesRegex(
                guests.MigrationFailed,
                r'performance counters in use.*hart 0: \d+\)'):
            guests.migrate(guest, there)
        there.kill()
        self.goes_on(guest, first)
        # A thread's counter would wait for the hart's: perf lets the hart's
        # go first where one of the kind is all that there is.
        self.check_counting(guest, 'close')
        self.check_counting(guest)

    def test_counters(self):
        """They count after each move, and the guest's kernel is content."""
        guest = self.guest('stable')
        guest.wait_alive()
        self.check_counting(guest)
        for kernel in ('testing', 'stable'):
            self.check_refused(guest, self.destination(guest, kernel))
            there = self.destination(guest, kernel)
            guests.migrate(guest, there)
            guest.quit()
            self.check_counting(there)
            there.wait_alive()
            guest = there


class Updates(CrossHostTest):
    """Another QEMU for a guest that stays on its host: cpr-transfer."""

    OTHER = os.path.join(lab.BUILD, 'other/qemu')

    def update(self, kernel, qemu):
        guest = self.guest(kernel, harts=4, prealloc=False,
                           devices=guests.UPDATABLE)
        guest.wait_alive()
        for _ in range(2):
            there, info = guests.update(guest, qemu=qemu)
            self.addCleanup(there.kill)
            guest.quit()
            there.wait_alive()
            there.say(f'in {qemu}')
            self.assertEqual(guests.lost_beats(there.console.beats), 0)
            print(f'# {kernel}: {info["total-time"]} ms, downtime '
                  f'{info["downtime"]} ms')
            # Its memory stays where it is.
            self.assertLess(info['ram']['transferred'], 1 << 20)
            guest = there
        guest.quit()

    def test_stable(self):
        self.update('stable', 'qemu-system-riscv64')

    def test_testing(self):
        self.update('testing', 'qemu-system-riscv64')

    def test_newer(self):
        """To the fork on another version of QEMU, as the fleet has it."""
        if not os.path.exists(self.OTHER):
            self.skipTest('no other QEMU built; run scripts/build-other')
        with open(self.OTHER, encoding='ascii') as f:
            self.update('testing', f.read().strip())


class MoreFailures(CrossHostTest):
    """For the long form."""

    GUEST_FILES = dict.fromkeys(KERNELS, 1)

    def test_few_files(self):
        """Files in hardware and in software, at once and in turn."""
        self.there_and_back('testing', 'stable', aia='auto', harts=4)

    def test_nobody_takes_it(self):
        """No host, nobody who listens, or an unpatched QEMU, which refuses."""
        guest = self.guest('stable')
        guest.wait_alive()
        for address in ('10.0.0.2:9999', '10.0.0.77:4444'):
            first = len(guest.console.beats)
            with self.assertRaises(lab.LabError) as caught:
                guests.send(guest, f'tcp:{address}')
            self.assertIn(address, str(caught.exception))
            self.goes_on(guest, first)

        first = len(guest.console.beats)
        there = self.destination(guest, 'testing',
                                 qemu='qemu-system-riscv64.stock')
        with self.assertRaises(guests.MigrationFailed):
            guests.migrate(guest, there)
        there.host.wait(lambda: there.ended(), 60, 'waiting for its refusal')
        print(f'# {there.ended()}')
        self.goes_on(guest, first)


def all_pairs(cls):
    """There and back, for each mode on the one host and each on the other."""
    def test(first, second, modes, harts):
        return lambda self: self.there_and_back(
            first, second, aia=modes[first], there_aia=modes[second],
            harts=harts)

    # By the place of a test; 8 harts in hwaccel may be too many for a CPU.
    harts = itertools.cycle((1, 2, 4, 3, 8))
    starts = itertools.cycle(KERNELS)
    modes = [('emul', 'auto') + ('hwaccel',) * (cls.GUEST_FILES[k] > 0)
             for k in KERNELS]
    for pair in itertools.product(*modes):
        n, first = next(harts), next(starts)
        second, = set(KERNELS) - {first}
        name = f'test_{pair[0]}_{pair[1]}_{n}_harts_from_{first}'
        setattr(cls, name, test(first, second, dict(zip(KERNELS, pair)), n))
    return cls


@all_pairs
class Pairs(CrossHostTest):
    """Both hosts have guest interrupt files; for the long form."""


@all_pairs
class PairsFilesOnTesting(CrossHostTest):
    """Only one host has guest interrupt files; for the long form."""

    GUEST_FILES = {'stable': 0, 'testing': 7}


@all_pairs
class PairsFilesOnStable(CrossHostTest):
    """Only the other has."""

    GUEST_FILES = {'stable': 7, 'testing': 0}


if __name__ == '__main__':
    tapunit.main()
