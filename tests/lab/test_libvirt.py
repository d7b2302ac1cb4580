# SPDX-License-Identifier: GPL-2.0-or-later
"""What operators do to a guest by libvirt, between hosts of both kernels."""

import os
import re
import subprocess
import time

import tapunit
from domains import AGENT, BOUND, EFI, EXTRA, HUGE, LibvirtTest, USUAL
from package import EMULATOR


class Libvirt(LibvirtTest):
    """In the short form from most tests to the next by one move only."""

    WAYS = ('--p2p --tunnelled', '--postcopy --postcopy-after-precopy',
            '--parallel --parallel-connections 2')
    turns = 1

    def test_package(self):
        """What is tested is what is installed."""
        here, _ = self.domain()
        if not here.host.package:
            self.skipTest(f'{self.package.words}; {here.host.emulator} is '
                          'tested')
        sums = subprocess.run(
            ['dpkg-deb', '-I', self.package.file, 'md5sums'], check=True,
            stdout=subprocess.PIPE, text=True).stdout
        exe = '/proc/$(cat /run/libvirt/qemu/guest.pid)/exe'
        path = here.host.check(f'readlink {exe}').strip()
        self.assertEqual(path, EMULATOR)
        self.assertEqual(here.host.check(f'md5sum <{exe}').split()[0],
                         re.search(rf'^(\w+) +{path[1:]}$', sums,
                                   re.MULTILINE)[1])

    def test_confined(self):
        """QEMU is as confined as libvirt has it on any other host."""
        here, _ = self.domain()
        process = '/proc/$(cat /run/libvirt/qemu/guest.pid)'
        # Only root can give a file away, on the machine whose file it is.
        owner = '64055' if os.getuid() == 0 else str(os.getuid())
        for what, script, expected in (
                ('sandbox', f'grep -h ^Seccomp: {process}/task/*/status | '
                 'sort -u', r'Seccomp:\s2'),
                ('user', f'grep ^Uid: {process}/status', r'Uid:(\s64055){4}'),
                ('disk', 'stat -c %u /lan/disk0', owner),
                ('cgroup', f'cat {process}/cgroup', '0::/machine.*guest.*'),
                ('controllers', 'cat /sys/fs/cgroup$(cut -d : -f 3 '
                 f'{process}/cgroup)/cgroup.controllers', '.*cpuset.*'),
                ('devices', f'ls -d /dev/ttyS0 {process}/root/dev/ttyS0 '
                 f'{process}/root/dev/kvm 2>/dev/null || true',
                 '/dev/ttyS0\n.*/root/dev/kvm')):
            with self.subTest(what):
                self.assertRegex(here.host.check(script).strip(),
                                 f'^(?:{expected})$')

    def test_cpu(self):
        """What the domain is to do without is in the -cpu line."""
        here, _ = self.domain()
        self.assertRegex(here.log(), r'(?m)^-cpu host,zbb=off ')

    def test_refused(self):
        """A host without an extension that the domain has is no place."""
        # It would take twice as long to start while the other is busy.
        busy = self.domain()[0]
        busy.virsh('suspend guest')
        here, there = self.start('plain', slot=1)
        self.addCleanup(here.remove)
        self.addCleanup(there.close)
        self.is_refused(here, there, '',
                        'zbb: on the source, not on the destination')
        busy.virsh('resume guest')
        self.is_whole(busy)

    def test_tls(self):
        """The host must be the one that its certificate names."""
        here, there = self.domain()
        self.is_refused(here, there, '--tls --tls-destination other',
                        'Certificate does not match the hostname other')

    def test_ways(self):
        for options in self.WAYS:
            for _ in range(self.turns):
                with self.subTest(options):
                    self.is_whole(self.move(f'--live {options}'))

    def test_saved(self):
        """It is saved on one host, and restored on the other.

        The RTC goes on meanwhile, and its alarm comes once.  The guest's own
        clock stands, until it is set by the RTC.
        """
        for _ in range(self.turns):
            here, there = self.domain()
            due = time.time() + 20
            self.assertEqual(here.ask('alarm 20'), 'set')
            # What QEMU had left over has come by now (test_alarm_again).
            _, late, alarms = self.clocks(here)
            here.virsh('save guest /lan/saved')
            self.assertIn(here.state(), ('shut off', 'undefined'))
            begin = time.time()
            time.sleep(max(0, due - begin))
            there.listen()
            away = time.time() - begin
            there.virsh('restore /lan/saved')
            type(self).places = there, here
            self.is_whole(there)
            rtc_late, now_late, now_alarms = self.clocks(there)
            self.assertLess(rtc_late, 10)
            self.assertGreater(now_late - late, away - 1)
            self.assertEqual(now_alarms, alarms + 1)
            there.ask('run hwclock -s -u')
            self.assertLess(self.clocks(there)[1], 10)

    @staticmethod
    def clocks(place):
        """How late the guest's RTC and its own clock are; and its alarms."""
        rtc, clock, _, *alarms = place.ask(
            'run cat /sys/class/rtc/rtc0/since_epoch; date +%s; '
            'grep rtc /proc/interrupts').split()
        now = time.time()
        return now - int(rtc), now - int(clock), sum(map(int, alarms[:2]))

    def slow_move(self):
        """Begins to move the domain, and does not come to an end."""
        here, there = self.domain()
        job = here.host.spawn('virsh migrate --live --p2p --bandwidth 1 guest '
                              f'{there.uri}')
        here.host.check('until virsh -q domjobinfo guest | '
                        'grep -q "^Memory processed"; do sleep 0.1; done')
        return job

    def fails(self, job, beat):
        """Returns what virsh says; the domain has gone on since that beat."""
        here, there = self.places
        here.wait(lambda: job.status is not None, 300, 'waiting for virsh')
        print(f'# {job.stderr()}')
        self.assertNotEqual(job.status, 0)
        self.goes_on_here(here, there, beat)
        return job.stderr()

    def test_abort(self):
        here, _ = self.domain()
        beat = len(here.console.beats)
        job = self.slow_move()
        here.virsh('domjobabort guest')
        # The second, where the source notices first what migrate_cancel has
        # closed (docs/qemu-facts.md, "A cancelled migration that has failed").
        self.assertRegex(self.fails(job, beat),
                         'operation aborted|Channel error')

    def test_no_space(self):
        """A domain that cannot be saved goes on."""
        here, there = self.domain()
        beat = len(here.console.beats)
        here.host.check('mkdir -p /small && mount -t tmpfs -o '
                        'size=8m,mode=755 small /small')
        status, said = here.host.run('virsh -q save guest /small/saved')
        here.host.check('umount /small')
        print(f'# {said}')
        self.assertNotEqual(status, 0)
        self.assertIn('No space left on device', said)
        self.goes_on_here(here, there, beat)

    def pins(self, place):
        """The CPUs of each vCPU and of its QEMU.

        As libvirt says and as the threads have it.
        """
        said = re.findall(
            r'^ *(?:\d +)?(\d\S*) *$',
            place.virsh("'vcpupin guest; emulatorpin guest'"),
            re.MULTILINE)
        # Of the others of QEMU libvirt leaves some as they began.
        threads = place.host.check(
            'p=$(cat /run/libvirt/qemu/guest.pid); '
            'for t in /proc/$p/task/*; do '
            'echo $(cat $t/comm) $(grep ^Cpus_allowed_list: $t/status); done; '
            'echo QEMU $(grep ^Cpus_allowed_list: /proc/$p/status)')
        kept = re.findall(
            r'^(CPU \d/KVM|QEMU) Cpus_allowed_list: (\S+)$', threads,
            re.MULTILINE)
        return said, [cpus for _, cpus in sorted(kept)]

    def test_live(self):
        """Each vCPU is on the CPU that it was given, there too."""
        here, _ = self.domain()
        ways = ['1', '0', '0'], ['0', '1', '0-1']
        for pins in ways[:self.turns]:
            here.virsh("'vcpupin guest 0 {}; vcpupin guest 1 {}; "
                       "emulatorpin guest {}'".format(*pins))
            self.assertEqual(self.pins(here), (pins, pins))
            here = self.move('--live')
            self.assertEqual(self.pins(here), (pins, pins))
            self.is_whole(here)
            self.assertRegex(here.virsh('domjobinfo --completed guest'),
                             r'Operation: +Incoming migration\s')

    def test_attached(self):
        """A disk is attached, moved along, and detached."""
        path = re.search("file='(.*)'", EXTRA)[1]
        for _ in range(self.turns):
            here, there = self.domain()
            here.host.check(f'dd if=/dev/urandom of={path} bs=1M count=4')
            there.host.check(f'truncate -s 4M {path}')
            here.put('extra.xml', EXTRA)
            here.virsh('attach-device --live guest /share/extra.xml')
            here.ask('run until [ -b /dev/sda ]; do sleep 0.1; done; '
                     'date >/dev/sda; sync')
            content = here.ask('run md5sum </dev/sda')
            there = self.move('--live --copy-storage-all --migrate-disks sda')
            self.assertEqual(content, there.ask(
                'run echo 3 >/proc/sys/vm/drop_caches; md5sum </dev/sda'))
            there.put('extra.xml', EXTRA)
            there.virsh('detach-device --live guest /share/extra.xml')
            there.ask('run while [ -b /dev/sda ]; do sleep 0.1; done')
            self.is_whole(there)
            for place in here, there:
                self.assertEqual(
                    place.host.check(f'md5sum <{path}').strip(), content)


class BothWays(Libvirt):
    """For the long form."""

    WAYS = Libvirt.WAYS + ('--auto-converge', '--compressed', '--tls',
                           '--timeout 1 --timeout-suspend')
    turns = 2
    # Not that of the class above, whose hosts are gone.
    places = None

    def test_without_fork(self):
        """Debian's QEMU does not take it."""
        here, there = self.domain()
        stock = here.host.check('readlink /opt/bin/qemu-system-riscv64.stock')
        here.virsh('dumpxml --migratable guest | sed '
                   f's,{here.host.emulator},{stock.strip()}, '
                   '>/share/stock.xml')
        # Which of them depends on what the source notices first.
        self.is_refused(here, there, '--xml /share/stock.xml',
                        '(?s)(destination cannot load the guest|reset by peer|'
                        "destination's messages say why)"
                        '.*load of migration failed')
        self.assertIn('Unknown savevm section', there.log())

    def breaks(self, what, mend):
        """On the destination, while the domain is on its way there"""
        here, there = self.domain()
        beat = len(here.console.beats)
        job = self.slow_move()
        there.host.check(what)
        here.wait(lambda: job.status is not None, 300, 'waiting for virsh')
        there.host.check(mend)
        self.fails(job, beat)

    def test_libvirtd_killed(self):
        self.breaks('kill -9 $(pidof libvirtd)',
                    'start-libvirtd && virsh uri')

    def test_link_down(self):
        # Its libvirtd notices by itself.
        self.breaks('ip link set eth0 down',
                    'ip link set eth0 up; while virsh -q domstate guest | '
                    'grep -q paused; do sleep 1; done')

    def test_dump(self):
        """Its memory while it runs, as a core file"""
        here, there = self.domain()
        beat = len(here.console.beats)
        here.virsh('dump --memory-only --live guest /lan/dump')
        self.assertEqual(here.host.check('head -c 4 /lan/dump; rm /lan/dump'),
                         '\x7fELF')
        self.goes_on_here(here, there, beat)

    def test_persistent(self):
        """What was defined here is defined there, and there only."""
        for _ in range(2):
            there = self.move('--live --p2p --persistent --undefinesource')
            self.assertEqual(self.places[1].state(), 'undefined')
            self.assertRegex(there.virsh('dominfo guest'),
                             r'Persistent: +yes')
            self.is_whole(there)

    def test_suspended(self):
        """It stays suspended until it is resumed."""
        for _ in range(2):
            here, _ = self.domain()
            here.virsh('suspend guest')
            beat = len(here.console.beats)
            there = self.move('--live')
            self.assertEqual(there.state(), 'paused')
            self.assertEqual(len(there.console.beats), beat)
            there.virsh('resume guest')
            self.is_whole(there)

    def has_returned(self, place, seqs):
        """The domain has gone back to one of these heartbeats."""
        console = place.console
        place.wait(console.returned, 300, 'waiting for its return')
        self.is_whole(place)
        self.assertIn(console.beats[0]['seq'], seqs)

    def test_balloon(self):
        """Memory that it has given back is not there after the move."""
        for mib in 120, 128:
            here, _ = self.domain()
            here.virsh(f'setmem --live guest {mib}M')
            # What libvirt knows by an event goes to the destination, not what
            # QEMU says if it is asked (dommemstat).
            here.host.check('until virsh -q dominfo guest | grep -q '
                            f'"^Used memory: *{mib * 1024} KiB"; '
                            'do sleep 0.1; done')
            total = here.ask('run grep MemTotal /proc/meminfo')
            there = self.move('--live')
            self.assertRegex(there.virsh('dominfo guest'),
                             f'Used memory: +{mib * 1024} KiB')
            self.assertEqual(there.ask('run grep MemTotal /proc/meminfo'),
                             total)
            self.is_whole(there)

    def test_reboot(self):
        """It boots anew while it moves, and when it has moved."""
        here, there = self.domain()
        job = self.slow_move()
        here.console.expect_return()
        there.listen()
        here.tell('run reboot -f')
        here.virsh('migrate-setspeed guest 1000')
        here.wait(lambda: job.status is not None, 300, 'waiting for virsh')
        self.assertEqual(job.status, 0, job.stderr())
        type(self).places = there, here
        self.has_returned(there, [1])
        there.console.expect_return()
        there.virsh('reset guest')
        self.has_returned(there, [1])

    def test_snapshot(self):
        """It goes back to what its disk has."""
        here, _ = self.domain()
        first = here.console.beats[-1]['seq']
        here.virsh('snapshot-create-as guest before')
        last = here.console.beats[-1]['seq']
        self.is_whole(here)
        here.console.expect_return()
        here.virsh('snapshot-revert guest before')
        self.has_returned(here, range(first, last + 2))
        here.virsh('snapshot-delete guest before')
        self.is_whole(self.move('--live'))

    def test_memory_snapshot(self):
        """It goes back on the other host, to what a file has."""
        here, there = self.domain()
        first = here.console.beats[-1]['seq']
        here.virsh('snapshot-create-as --live guest before --memspec '
                   'file=/lan/memory --diskspec vda,snapshot=no')
        last = here.console.beats[-1]['seq']
        self.is_whole(here)
        here.virsh('snapshot-delete --metadata guest before')
        here.virsh('destroy guest')
        here.console.expect_return()
        there.listen()
        there.virsh('restore /lan/memory')
        type(self).places = there, here
        self.has_returned(there, range(first, last + 2))

    def turn_off(self):
        for place in self.places or ():
            place.remove()
        type(self).places = None

    def is_off(self):
        """Neither host has it any more."""
        for place in self.places:
            self.assertIn(place.state(), ('shut off', 'undefined'))
        self.turn_off()

    def test_shut_down(self):
        """The guest powers off while it moves, and when it has moved."""
        here, _ = self.domain()
        job = self.slow_move()
        here.tell('quit')
        here.wait(lambda: job.status is not None, 300, 'waiting for virsh')
        print(f'# {job.stderr()}')
        self.assertNotEqual(job.status, 0)
        self.is_off()
        there = self.move('--live')
        there.tell('quit')
        there.host.check('while virsh -q domstate guest | grep -q running; '
                         'do sleep 0.1; done')
        self.is_off()

    def test_no_button(self):
        """The machine has none for virsh: see docs/qemu-facts.md."""
        here, _ = self.domain()
        for command in 'reboot', 'shutdown':
            here.virsh(f'{command} guest')
            self.is_whole(here)
        self.assertEqual(here.ask('run cat /proc/bus/input/devices'), '')

    def test_reset_in_move(self):
        """It waits for the end of the move, but not for long."""
        here, _ = self.domain()
        beat = len(here.console.beats)
        job = self.slow_move()
        status, said = here.host.run('virsh -q reset guest')
        print(f'# {said}')
        self.assertNotEqual(status, 0)
        self.assertIn('cannot acquire state change lock', said)
        here.virsh('domjobabort guest')
        self.fails(job, beat)

    def test_huge_pages(self):
        """There and back in pages of 2 MiB."""
        self.turn_off()
        for host in self.hosts.values():
            host.check('echo 64 >/proc/sys/vm/nr_hugepages; '
                       'grep -x 64 /proc/sys/vm/nr_hugepages')
        type(self).places = self.start('guest', cpu=self.WITHOUT_ZBB,
                                       memory=HUGE)
        for _ in range(2):
            there = self.move('--live')
            for place, free in zip(self.places, (0, 64)):
                self.assertEqual(place.host.check(
                    "awk '/HugePages_Free/ {print $2}' /proc/meminfo"),
                    f'{free}\n')
            self.is_whole(there)
        self.turn_off()
        for host in self.hosts.values():
            host.check('echo 0 >/proc/sys/vm/nr_hugepages')

    def test_numa(self):
        """Its memory is bound to a node, there too."""
        self.turn_off()
        type(self).places = self.start('guest', cpu=self.WITHOUT_ZBB,
                                       memory=BOUND)
        for way in 'move', 'move', 'end':
            here, _ = self.domain()
            self.assertRegex(here.virsh('numatune guest'),
                             r'numa_mode +: strict\s+numa_nodeset +: 0$')
            pages = sum(map(int, re.findall(
                r'^\w+ bind\S*:0 .* N0=(\d+)', here.host.check(
                    'cat /proc/$(cat /run/libvirt/qemu/guest.pid)/numa_maps'),
                re.MULTILINE)))
            self.assertGreaterEqual(pages * 4, USUAL['mib'] << 10)
            if way == 'move':
                self.is_whole(self.move('--live'))
        self.turn_off()

    def test_firmware(self):
        """There and back, and saved, with the variables of its firmware."""
        self.turn_off()
        type(self).places = self.start('guest', cpu=self.WITHOUT_ZBB, **EFI)
        path = '/var/lib/libvirt/qemu/nvram/guest_VARS.fd'
        for how in 'move', 'move', 'save':
            here, there = self.domain()
            self.assertEqual(
                here.ask('run ls /sys/firmware/acpi/tables/APIC '
                         '/sys/firmware/efi/systab'),
                '/sys/firmware/acpi/tables/APIC /sys/firmware/efi/systab')
            variables = here.host.check(f'md5sum <{path}')
            if how == 'move':
                self.move('--live')
            else:
                here.virsh('save guest /lan/saved')
                there.listen()
                there.virsh('restore /lan/saved')
                type(self).places = there, here
            self.is_whole(there)
            self.assertEqual(there.host.check(f'md5sum <{path}'), variables)
        template = there.host.check(
            'md5sum </usr/share/qemu-efi-riscv64/RISCV_VIRT_VARS.fd')
        self.assertNotEqual(variables, template)
        self.turn_off()

    def test_agent(self):
        """It sets the guest's clock after a long save, wherever it is."""
        self.turn_off()
        type(self).places = self.start('guest', cpu=self.WITHOUT_ZBB, **AGENT)
        ping = 'qemu-agent-command guest \'{"execute": "guest-ping"}\''
        here = self.places[0]
        here.host.check(f'until virsh -q {ping}; do sleep 0.1; done')
        here = self.move('--live')
        here.host.check(f'until virsh -q {ping}; do sleep 0.1; done')
        here.virsh('save guest /lan/saved')
        there = self.places[1]
        time.sleep(60)
        there.listen()
        there.virsh('restore /lan/saved')
        type(self).places = there, here
        self.is_whole(there)
        self.assertGreater(self.clocks(there)[1], 60)
        there.host.check('until virsh -q domtime --sync guest; '
                         'do sleep 0.1; done')
        self.assertLess(self.clocks(there)[1], 10)
        self.is_whole(there)
        self.turn_off()

    def test_alarm_again(self):
        """After a move one that is set comes at once, too (qemu-facts.md)."""
        there = self.move('--live')
        alarms = self.clocks(there)[2]
        self.assertEqual(there.ask('alarm 3600'), 'set')
        self.assertEqual(self.clocks(there)[2], alarms + 1)
        self.is_whole(there)

    def test_managed_save(self):
        """The next start goes on where the domain was."""
        for _ in range(2):
            here, _ = self.domain()
            here.virsh('managedsave guest')
            self.assertEqual(here.state(), 'shut off')
            here.virsh('start guest')
            self.is_whole(here)
            self.move('--live --persistent')


del LibvirtTest

if __name__ == '__main__':
    tapunit.main()
