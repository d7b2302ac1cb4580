# SPDX-License-Identifier: GPL-2.0-or-later
"""Migration of a Linux guest between hosts whose CPUs are not alike.

Each direction of each pair is tried twice.  Started with "-cpu host", the
guest is refused by name before its memory is sent, or it moves, as the pair
tells.  Started with the "-cpu" line that the refusals advise, it moves there
and back.
"""

import itertools
import re

import guests
import tapunit
from test_cross_host import CrossHostTest

# What may have been sent when the destination refuses.
MIB = 1 << 20


class UnlikeHosts(CrossHostTest):
    """Two hosts, A and B.

    CPUS has the CPU of each, KERNELS its kernel.  REFUSED has, for the guest
    of each host, all that the other one says it lacks; nothing if it moves.
    With AND_MORE the other may lack more than that.
    """

    CPUS = ('rva23s64', 'rva23s64')
    KERNELS = ('testing', 'testing')
    REFUSED = ((), ())
    AND_MORE = False

    @classmethod
    def host_options(cls):
        return {name: {'kernel': kernel, 'cpu': cpu, 'guest_files': 7}
                for name, kernel, cpu in zip('AB', cls.KERNELS, cls.CPUS)}

    @staticmethod
    def has_vector(guest):
        return (guest.host.passes_on_illegal_instructions() and
                ',v=off' not in guest.cpu)

    def check_uses(self, beat, guest):
        """The guest uses the extensions that it was told of."""
        cpu = dict(zip('AB', self.CPUS))[guest.host.name]
        self.assertEqual(beat['zbb'], int('zbb=off' not in cpu + guest.cpu))
        self.assertEqual(beat['zicboz'], 64)

    def sent(self, guest):
        """Bytes that the guest's host has sent on its LAN."""
        return int(guest.host.check(
            'cat /sys/class/net/eth0/statistics/tx_bytes'))

    def differences(self, said):
        """What the destination has said that it lacks, and what to do."""
        m = re.search(r'this host cannot take the guest: (.*)$', said,
                      re.MULTILINE)
        self.assertIsNotNone(m, said)
        return sorted(m[1].split('; '))

    def refusal(self, there):
        there.host.wait(lambda: there.ended(), 60, 'waiting for its refusal')
        said = there.job.stderr().strip()
        print(f'# {said}')
        self.assertNotEqual(there.job.status, 0)
        # Its wires are for the next one.
        there.kill()
        return said

    def refused(self, first, second, refused):
        """The guest of a host is refused by the other, and goes on."""
        guest = self.guest(first, harts=2)
        self.check_uses(guest.wait_alive(), guest)
        beat, sent = len(guest.console.beats), self.sent(guest)
        there = self.destination(guest, second)
        with self.assertRaises(guests.MigrationFailed) as failed:
            guests.migrate(guest, there)
        print(f'# the source: {failed.exception} {guest.job.stderr()}')
        self.assertLess(self.sent(guest) - sent, MIB)
        said = self.refusal(there)
        differences = self.differences(said)
        if self.AND_MORE:
            self.assertLessEqual(set(refused), set(differences))
        else:
            self.assertEqual(differences, sorted(refused))
        self.goes_on(guest, beat)

        # The same from a file, of which the destination needs no more than
        # the beginning for that.
        guest.qmp('stop')
        guests.send(guest, 'file:/tmp/stream')
        guest.qmp('cont')
        guest.host.check('head -c 65536 /tmp/stream >/lan/stream; '
                         'rm /tmp/stream')
        there = self.destination(guest, second)
        guests.prepare_migration(there, 'file:')
        there.qmp('migrate-incoming', uri='file:/lan/stream')
        self.assertEqual(self.refusal(there), said)
        self.goes_on(guest, beat)
        guest.quit()
        advice = re.search(r'-cpu (host\S*)$', said, re.MULTILINE)
        if any(d.startswith('sstc:') for d in differences):
            self.assertIn('No CPU property makes up for: sstc.', said)
            return None
        self.assertIsNotNone(advice, said)
        return advice[1]

    def moves(self, first, second, cpu='host'):
        arguments = ''
        if ',sv48=off' in cpu:
            arguments = 'no4lvl'
        elif ',sv57=off' in cpu:
            arguments = 'no5lvl'
        self.there_and_back(first, second, cpu=cpu, harts=2,
                            arguments=arguments)

    def try_direction(self, first, second, refused):
        if refused:
            advice = self.refused(first, second, refused)
            if advice:
                self.moves(first, second, advice)
        else:
            guest = self.guest(first, harts=2)
            self.check_uses(guest.wait_alive(), guest)
            there = self.destination(guest, second)
            guests.migrate(guest, there)
            guest.quit()
            there.wait_alive()
            # What the guest was told when it booted goes back with it.
            back = self.destination(there, first)
            guests.migrate(there, back)
            there.quit()
            back.wait_alive()
            self.assertEqual(guests.lost_beats(back.console.beats), 0)
            back.quit()

    def test_from_a(self):
        self.try_direction('A', 'B', self.REFUSED[0])

    def test_from_b(self):
        self.try_direction('B', 'A', self.REFUSED[1])


def lacks(*names):
    return tuple(f'{n}: on the source, not on the destination' for n in names)


def vlenb(source, destination):
    return (f'vlenb: {source} on the source, {destination} on the '
            'destination',)


def zicbom(source, destination):
    return (f'cache block size of zicbom: {source} on the source, '
            f'{destination} on the destination',)


def satp(source, destination):
    return (f'satp_mode: {source} on the source, {destination} on the '
            'destination',
            f'paging: the guest uses {source}, the destination has '
            f'{destination}')


class Everything(UnlikeHosts):
    """A rule of each kind at once, and two kernels."""

    CPUS = ('rva23s64,sv57=on',
            'rva23s64,vlen=256,zbb=off,cbom_blocksize=128')
    KERNELS = ('testing', 'stable')
    REFUSED = (lacks('zbb') + vlenb(16, 32) + zicbom(64, 128) +
               satp('sv57', 'sv39'), vlenb(32, 16) + zicbom(128, 64))


# For the long form: one difference each, and the two that are most unlike.
PAIRS = {
    'Vlen': (('rva23s64,vlen=128', 'rva23s64,vlen=256'),
             (vlenb(16, 32), vlenb(32, 16))),
    'Sstc': (('rva23s64', 'rva23s64,sstc=off'),
             (lacks('sstc'),
              ('sstc: on the destination, where KVM can lose the timers of a '
               'guest from a host without',))),
    'Paging': (('rva23s64,sv57=on', 'rva23s64,sv48=off,sv57=off'),
               (satp('sv57', 'sv39'), ())),
    'Zbb': (('rva23s64', 'rva23s64,zbb=off'), (lacks('zbb'), ())),
    'Block': (('max', 'max,cbom_blocksize=128,mvendorid=0x123'),
              tuple(zicbom(a, b) + (f'mvendorid: {x} on the source, '
                                    f'{y} on the destination',)
                    for a, b, x, y in ((64, 128, '0x0', '0x123'),
                                       (128, 64, '0x123', '0x0')))),
    'Max': (('rva23s64', 'max,zbb=off,zicbom=off'),
            (lacks('zbb', 'zicbom'), lacks('zbc', 'zfh'))),
}

for pair, kernels in itertools.product(
        PAIRS, itertools.product(('stable', 'testing'), repeat=2)):
    class_name = '_'.join((pair,) + kernels)
    globals()[class_name] = type(class_name, (UnlikeHosts,), {
        'CPUS': PAIRS[pair][0], 'REFUSED': PAIRS[pair][1], 'KERNELS': kernels,
        # What else "max" has is another thing under another kernel.
        'AND_MORE': pair in ('Max', 'Block'), '__module__': __name__})

del UnlikeHosts, CrossHostTest

if __name__ == '__main__':
    tapunit.main()
