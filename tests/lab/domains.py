# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that libvirt has, what they need on the hosts, and their tests."""

import os
import struct
import subprocess
import time

import guests
import lab
from package import Package
from test_cross_host import CrossHostTest

# Host by host, in the order of their addresses.
HOSTS = ('stable', 'testing')

KERNEL = '''<kernel>/guest/Image</kernel>
    <initrd>/guest/initrd{parts}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 HEARTBEAT_PORT=heartbeat \
HEARTBEAT_NO_VECTOR=1</cmdline>'''

DEVICES = '''<disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/>
      <source file='/lan/disk{slot}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <controller type='scsi' model='virtio-scsi'/>
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
    </channel>'''

DOMAIN = '''
<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>{mib}</memory>
  {memory}
  <vcpu>2</vcpu>
  <cputune>
    <vcpupin vcpu='0' cpuset='0'/>
    <vcpupin vcpu='1' cpuset='1'/>
  </cputune>
  <os {firmware}>
    <type arch='riscv64' machine='virt'>hvm</type>
    {kernel}
  </os>
  <features>{acpi}<aia value='aplic-imsic'/></features>
  <cpu mode='host-passthrough'>{cpu}</cpu>
  <devices>
    <emulator>{emulator}</emulator>
    {devices}
    {agent}
  </devices>
</domain>
'''

ALLOCATED = ("<memoryBacking><allocation mode='immediate'/>"
             "</memoryBacking>")
BOUND = f"{ALLOCATED}<numatune><memory mode='strict' nodeset='0'/></numatune>"
HUGE = '<memoryBacking><hugepages/></memoryBacking>'

# What a domain is, unless a test says otherwise
USUAL = {'cpu': '', 'memory': ALLOCATED, 'mib': 128, 'firmware': '',
         'acpi': '', 'parts': '', 'agent': ''}
EFI = {'firmware': "firmware='efi'", 'acpi': '<acpi/>', 'mib': 256}

AGENT = {'parts': '.agent', 'agent': "<channel type='unix'><target "
         "type='virtio' name='org.qemu.guest_agent.0'/></channel>"}

# On a disk of the host, which the hosts do not share
EXTRA = '''
<disk type='file' device='disk'>
  <driver name='qemu' type='raw'/>
  <source file='/var/lib/libvirt/images/extra'/>
  <target dev='sda' bus='scsi'/>
</disk>
'''


def write_qcow2(path):
    """An image of 512 MiB zeros, with clusters that one L2 table has."""
    size = 1 << 16
    tables = 5
    clusters = size // 8
    with open(path, 'wb') as f:
        f.write(struct.pack(
            '>4sIQIIQIIQQIIQQQQII', b'QFI\xfb', 3, 0, 0, 16, clusters * size,
            0, 1, 3 * size, size, 1, 0, 0, 0, 0, 0, 4, 104))
        for cluster, kind, values in (
                (1, 'Q', (2 * size,)), (2, 'H', [1] * (tables + clusters)),
                (3, 'Q', (1 << 63 | 4 * size,)),
                (4, 'Q', (1 << 63 | (tables + i) * size
                          for i in range(clusters)))):
            f.seek(cluster * size)
            f.write(b''.join(struct.pack(f'>{kind}', v) for v in values))
        f.truncate((tables + clusters) * size)
    os.chmod(path, 0o666)


def certify(path):
    """A certificate for both hosts."""
    os.mkdir(path)
    make = ('openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 '
            '-noenc -days 2 -subj /CN={0} -keyout {0}-key.pem '
            '-out {0}-cert.pem {1}').format
    names = ','.join(f'DNS:{name}' for name in HOSTS)
    for command in (
            make('ca', ''),
            make('server', '-CA ca-cert.pem -CAkey ca-key.pem '
                 f'-addext subjectAltName={names} '
                 '-addext basicConstraints=CA:FALSE'),
            'cp server-cert.pem client-cert.pem',
            'cp server-key.pem client-key.pem', 'chmod 644 server-key.pem '
            'client-key.pem'):
        subprocess.run(command.split(), cwd=path, check=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


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

    def put(self, name, text):
        """Writes a file for virsh."""
        with open(os.path.join(self.host.share, name), 'w',
                  encoding='utf-8') as f:
            f.write(text)

    def remove(self):
        """Ends and forgets the domain here, if there is one."""
        self.host.run(f'virsh -q destroy {self.name}; '
                      f'virsh -q undefine --managed-save --nvram {self.name}')
        self.close()

    def _state(self):
        return f'its log ends:\n{self.log()[-2000:]}'

    def _explain_silence(self, timeout, final):
        if final or self.state() != 'running':
            raise lab.LabError(f'{timeout}; {self.state()}; {self._state()}')


class LibvirtTest(CrossHostTest):
    """One domain goes from test to test, wherever it is.

    The host with Linux 7.2 lacks an extension that the other one has, so the
    domain does without.
    """

    CPUS = {'stable': 'rva23s64', 'testing': 'rva23s64,zbb=off'}
    WITHOUT_ZBB = "<feature policy='disable' name='zbb'/>"
    places = None

    @classmethod
    def host_options(cls):
        cls.package = Package()
        return {k: {'kernel': k, 'guest_files': 7, 'cpu': cls.CPUS[k],
                    'package': cls.package} for k in HOSTS}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        start = time.monotonic()
        lan = next(iter(cls.hosts.values())).lan
        certify(os.path.join(lan.files, 'tls'))
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
        for slot in range(2):
            write_qcow2(os.path.join(lan.files, f'disk{slot}'))
        for host in cls.hosts.values():
            # QEMU is not root there.  The host has its own mind about the
            # mode of what it has mounted.
            host.check('chmod 755 /lan')

    def make_places(self, name, slot=0):
        """Where a domain can be, the first host first."""
        source = self.hosts['stable']
        console = guests.Console(os.path.join(source.dir, f'{name}.log'))
        places = []
        for host in self.hosts.values():
            places.append(Place(host, name, slot, console))
            self.addClassCleanup(places[-1].close)
        return places

    def start(self, name, slot=0, **what):
        """Starts a domain on the first host; returns its places."""
        places = self.make_places(name, slot)
        here = places[0]
        here.listen()
        what = USUAL | what
        here.put(f'{name}.xml', DOMAIN.format(
            name=name, emulator=here.host.emulator,
            kernel=KERNEL.format(**what), devices=DEVICES.format(slot=slot),
            **what))
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

    def goes_on_here(self, here, there, beat):
        """The domain is where it was at that heartbeat, and only there."""
        self.is_whole(here)
        self.assertTrue(all(b['guest'] is here
                            for b in here.console.beats[beat:]))
        self.assertIn(there.state(), ('shut off', 'undefined'))

    def is_refused(self, here, there, options, words):
        """What virsh says of the move; the domain stays where it is."""
        beat = len(here.console.beats)
        status, said = here.host.run(
            f'virsh -q migrate --live {options} {here.name} {there.uri}')
        print(f'# {said}')
        self.assertNotEqual(status, 0)
        self.assertRegex(said, words)
        self.goes_on_here(here, there, beat)
