# SPDX-License-Identifier: GPL-2.0-or-later
"""What operators do to a guest by libvirt, between hosts of both kernels."""

import os
import time

import guests
import lab
import tapunit
from test_cross_host import CrossHostTest

# Host by host, in the order of their addresses.
HOSTS = ('stable', 'testing')

DOMAIN = '''
<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>128</memory>
  <memoryBacking><allocation mode='immediate'/></memoryBacking>
  <vcpu>2</vcpu>
  <cputune>
    <vcpupin vcpu='0' cpuset='0'/>
    <vcpupin vcpu='1' cpuset='1'/>
  </cputune>
  <os>
    <type arch='riscv64' machine='virt'>hvm</type>
    <kernel>/guest/Image</kernel>
    <initrd>/guest/initrd</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 HEARTBEAT_PORT=heartbeat \
HEARTBEAT_NO_VECTOR=1</cmdline>
  </os>
  <features><aia value='aplic-imsic'/></features>
  <cpu mode='host-passthrough'>{cpu}</cpu>
  <devices>
    <emulator>/fork/qemu-system-riscv64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='/lan/disk'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='user'>
      <model type='virtio'/>
      <rom enabled='no'/>
    </interface>
    <serial type='dev'>
      <source path='/dev/virtio-ports/tty{slot}'/>
    </serial>
    <channel type='dev'>
      <source path='/dev/virtio-ports/beat{slot}'/>
      <target type='virtio' name='heartbeat'/>
    </channel>
  </devices>
</domain>
'''


class Place(guests.Guest):
    """A domain as one of the hosts has it, or may get it."""

    def __init__(self, host, name, slot, console):
        self.host = host
        self.name = name
        self.slot = slot
        self.console = console
        self._tty = host.connect(f'tty{slot}')
        self._beat = host.connect(f'beat{slot}')

    def listen(self):
        """What the domain says from now on may come from here."""
        self.console.remove_feeder(self)
        self.console.add_feeder(self, self._tty)
        self.console.add_feeder(self, self._beat, 'beat')

    def close(self):
        """Frees its wires for the next domain; again does no harm."""
        if self._tty.fileno() < 0:
            return
        self.console.remove_feeder(self)
        self._tty.close()
        self._beat.close()

    def wait(self, condition, timeout, what):
        return self.host.wait(condition, timeout, f'{self.name}: {what}')

    def virsh(self, command, timeout=180):
        return self.host.check(f'virsh -q {command}', timeout).strip()

    def state(self):
        status, text = self.host.run(f'virsh -q domstate {self.name}')
        return text.strip() if status == 0 else 'undefined'

    def log(self):
        return self.host.check(f'cat /var/log/libvirt/qemu/{self.name}.log')

    @property
    def uri(self):
        return f'qemu+tcp://{self.host.name}/system'

    def remove(self):
        """Ends and forgets the domain here, if there is one."""
        self.host.run(f'virsh -q destroy {self.name}; '
                      f'virsh -q undefine --managed-save {self.name}')
        self.close()

    def _state(self):
        return f'its log ends:\n{self.log()[-2000:]}'

    def _explain_silence(self, timeout, final):
        if final or self.state() != 'running':
            raise lab.LabError(f'{timeout}; {self.state()}; {self._state()}')


class Libvirt(CrossHostTest):
    """One domain goes from test to test, wherever it is.

    The host with Linux 7.2 lacks an extension that the other one has, so the
    domain does without.
    """

    CPUS = {'stable': 'rva23s64', 'testing': 'rva23s64,zbb=off'}
    WITHOUT_ZBB = "<feature policy='disable' name='zbb'/>"
    places = None

    @classmethod
    def host_options(cls):
        return {k: {'kernel': k, 'guest_files': 7, 'cpu': cls.CPUS[k]}
                for k in HOSTS}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        start = time.monotonic()
        names = ' '.join(f'{h.lan.ip} {n}' for n, h in cls.hosts.items())
        jobs = [host.spawn(f'tests/lab/libvirt {i} {names}')
                for i, host in enumerate(cls.hosts.values(), 1)]
        for job in jobs:
            job.host.wait(lambda job=job: job.status is not None, 300,
                          'waiting for its libvirtd')
            if job.status:
                raise lab.LabError(
                    f'host {job.host.name}: no libvirtd:\n{job.stdout()}'
                    f'{job.stderr()}' +
                    job.host.run('cat /var/log/libvirt/libvirtd.log')[1])
        print(f'# libvirtd: {time.monotonic() - start:.0f} s')
        lan = next(iter(cls.hosts.values())).lan
        with open(os.path.join(lan.files, 'disk'), 'wb') as f:
            f.truncate(1 << 30)
        os.chmod(f.name, 0o666)
        for host in cls.hosts.values():
            # QEMU is not root there.  The host has its own mind about the
            # mode of what it has mounted.
            host.check('chmod 755 /lan')

    def start(self, name, slot=0, cpu=''):
        """Starts a domain on the first host; returns its places."""
        source = self.hosts['stable']
        console = guests.Console(os.path.join(source.dir, f'{name}.log'))
        places = []
        for host in self.hosts.values():
            places.append(Place(host, name, slot, console))
            self.addClassCleanup(places[-1].close)
        here = places[0]
        here.listen()
        with open(os.path.join(source.share, f'{name}.xml'), 'w',
                  encoding='utf-8') as f:
            f.write(DOMAIN.format(name=name, slot=slot, cpu=cpu))
        try:
            here.virsh(f'define /share/{name}.xml')
            here.virsh(f'start {name}')
            self.is_whole(here)
        except lab.LabError:
            # Wires that stay open would keep the next domain waiting.
            for place in places:
                place.remove()
            raise
        return places

    def domain(self):
        """Where the domain is, and where it may go."""
        if not self.places:
            type(self).places = self.start('guest', cpu=self.WITHOUT_ZBB)
        return self.places

    def setUp(self):
        super().setUp()
        self.start_time = time.monotonic()
        self.addCleanup(self.end)

    def end(self):
        """If this one has failed, the next gets a new domain."""
        print(f'# {time.monotonic() - self.start_time:.0f} s')
        if self.failures() == self.failures_before:
            return
        for place in self.places or ():
            print(f'# on {place.host.name}: {place.state()}')
            place.remove()
        type(self).places = None

    def is_whole(self, place):
        """The domain runs in that place, and has lost nothing."""
        place.wait_alive()
        place.say(f'on {place.host.name}')
        self.assertEqual(guests.lost_beats(place.console.beats), 0)
        self.assertEqual(place.state(), 'running')

    def move(self, options):
        """Moves the domain as it is, and leaves the rest to the caller."""
        here, there = self.domain()
        start = time.monotonic()
        there.listen()
        here.virsh(f'migrate {options} {here.name} {there.uri}', 600)
        print(f'# to {there.host.name}: {time.monotonic() - start:.0f} s')
        type(self).places = there, here
        self.assertIn(here.state(), ('shut off', 'undefined'))
        return there

    def there_and_back(self, options):
        for _ in range(2):
            self.is_whole(self.move(options))

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
                ('disk', 'stat -c %u /lan/disk', owner),
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

    def test_live(self):
        self.there_and_back('--live')


del CrossHostTest

if __name__ == '__main__':
    tapunit.main()
