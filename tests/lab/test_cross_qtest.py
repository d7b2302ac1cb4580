# SPDX-License-Identifier: GPL-2.0-or-later
"""The migration qtest on two hosts with different kernels.

An instance of it runs on each, case by case, and both must be content.
"""

import os
import re
import shlex

import lab
import tapunit
from test_cross_host import CrossHostTest

PORT = 4500
PREFIX = '/riscv64/riscv-aia/cross/'


def command(role, address, cases, options):
    """What runs cases of the qtest as the source or the destination."""
    env = {
        'TMPDIR': '/tmp', 'QTEST_QEMU_BINARY': 'qemu-system-riscv64',
        'QTEST_RISCV_AIA_FILES': '7',
        'QTEST_RISCV_AIA_GUESTS': os.path.join(lab.BUILD, 'guests'),
        'QTEST_RISCV_AIA_PEER': role,
        'QTEST_RISCV_AIA_PEER_ADDRESS': address}
    return shlex.join(
        ['env', *(f'{k}={v}' for k, v in env.items()),
         'tests/lab/each-case', *options,
         '/fork/tests/qtest/riscv-aia-migration-test',
         *(PREFIX + c for c in cases)])


def every_other(cases, first):
    """Half of the ways of each guest in each pair of modes, from FIRST on.

    Called with 0 and 1, all of them; what has but one way is in both halves.
    """
    groups = {}
    for case in cases:
        guest, _, modes = case.split('/')[:3]
        groups.setdefault((guest, modes), []).append(case)
    return [case for g, ways in enumerate(groups.values())
            for w, case in enumerate(ways)
            if len(ways) == 1 or (g + w) % 2 == first]


class Instance:
    """The qtest as the source or the destination, on one host."""

    def __init__(self, host, role, address, cases, options):
        self.host = host
        self.role = role
        self.job = host.spawn(command(role, address, cases, options))

    def wait(self, timeout):
        self.host.wait(lambda: self.job.status is not None, timeout,
                       f'waiting for the {self.role}')

    def results(self):
        """Of each case its result, and what was said before that."""
        results, said = {}, []
        for line in self.job.stdout().splitlines():
            m = re.match(rf'(ok|not ok) \d+ {PREFIX}(\S+)( # SKIP)?', line)
            if m:
                results[m[2]] = ('skipped' if m[3] else m[1],
                                 '\n'.join(said))
                said = []
            else:
                said.append(f'# {self.role}: {line.removeprefix("# ")}')
        return results


class CrossQtest(CrossHostTest):
    """Both instances, on hosts that all tests of a class share."""

    def address(self, source):
        there, = set(self.hosts) - {source}
        return f'{self.hosts[there].lan.ip}:{PORT}'

    def start(self, source, cases, options=()):
        """The destination, then the source, which is on the kernel SOURCE."""
        there, = set(self.hosts) - {source}
        return [Instance(self.hosts[kernel], role, self.address(source), cases,
                         options)
                for kernel, role in ((there, 'destination'),
                                     (source, 'source'))]

    def end(self, instances, timeout):
        """What each has to say of each case; no QEMU is left behind."""
        for instance in instances:
            instance.wait(timeout)
        for host in self.hosts.values():
            self.assertEqual(host.run('pidof qemu-system-riscv64')[1], '')
        return [i.results() for i in instances]

    def run_cases(self, source, cases=(), options=()):
        there, here = self.end(self.start(source, cases, options), 12000)
        self.assertEqual(list(there), list(here))
        self.assertTrue(here)
        for case, (result, said) in here.items():
            print(f'# {case}: {result}')
            with self.subTest(case):
                self.assertEqual([there[case][0], result],
                                 [result if result == 'skipped' else 'ok'] * 2,
                                 f'\n{there[case][1]}\n{said}')


class Short(CrossQtest):
    """One case of each guest, and what goes wrong"""

    # In the order of the test
    KILLED = ('vcpu_hsm/stopped/auto-auto', 'vcpu_sbi/live/emul-emul')

    def test_from_stable(self):
        self.run_cases('stable')

    def test_qemu_killed(self):
        """Both say that; the next case runs.  tests/peers.py has the rest."""
        there, here = self.start('stable', self.KILLED)
        # Its QEMU listens, on another port than the test has.
        there.host.check("until grep ' 0A ' /proc/net/tcp | grep -qv "
                         f"':{PORT:04X} '; do sleep 0.1; done")
        there.host.check('kill -9 $(pidof qemu-system-riscv64)')
        results = self.end([there, here], 900)
        for result in results:
            self.assertEqual([r for r, _ in result.values()],
                             ['not ok', 'ok'])
        # QEMU's migration fails, in words that depend on what it was doing, or
        # it is over and the other test does not answer.
        self.assertRegex(results[1][self.KILLED[0]][1],
                         'current_status != "failed"|'
                         'the destination (is|has) gone')


class Tick(CrossQtest):
    """For the long form: all pairs of modes from each kernel to the other.

    Each of them by all ways, half of which begin on either kernel.
    """

    CASES = ('tick',)

    def run_half(self, source, first):
        listed = self.hosts[source].check(command(
            'source', self.address(source), self.CASES, ['--slow', '--list']))
        cases = [line.removeprefix(PREFIX) for line in listed.split()]
        self.run_cases(source, every_other(cases, first), ['--slow'])

    def test_from_stable(self):
        self.run_half('stable', 0)

    def test_from_testing(self):
        self.run_half('testing', 1)


class Interrupts(Tick):
    CASES = ('aplic', 'imsic', 'devices')


class Memory(Tick):
    CASES = ('memory', 'memory_busy')


class VcpuState(Tick):
    CASES = ('vcpu_regs', 'vcpu_vector', 'vcpu_compute')


class VcpuSbi(Tick):
    CASES = ('vcpu_hsm', 'vcpu_start', 'vcpu_timer', 'vcpu_sbi', 'vcpu_pmu',
             'vcpu_counters')


del CrossHostTest, CrossQtest

if __name__ == '__main__':
    tapunit.main()
