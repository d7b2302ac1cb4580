# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux guests under KVM in the hosts of lab.py, and their migration."""

import json
import os
import re
import select
import selectors
import time

from lab import LabError, LabTimeout, left, receive, selector
from machine import Machine


class Console:
    """What a guest says, wherever the guest goes.

    It has two wires: heartbeats come over a virtio-serial port, their numbers
    and the kernel's words over the serial port.  A line may begin on one host
    and end on another, so all hosts of the guest feed the same Console, in the
    order in which the guest came to them.
    """

    # What a kernel says when an interrupt or more is lost.
    TROUBLE = re.compile(r'\bstall|lockup|\bBUG\b|Oops|Kernel panic|'
                         r'Unable to handle|hung_task|blocked for more than',
                         re.IGNORECASE)
    # What it says where everything is slow.
    HARMLESS = re.compile(r'hrtimer: interrupt took|'
                          r'sched: DL replenish lagged too much')

    def __init__(self, log):
        self.beats = []
        # Of each tenth of a second, where the guest was told to send them
        self.samples = []
        self.lines = []
        self.trouble = []
        # Called with each heartbeat, if set.
        self.on_beat = None
        self._seq = 0
        # The wires on which a guest that goes back has not done so yet
        self._returns = set()
        self._log = open(log, 'ab', buffering=0)
        # What has come of a line that is not complete, for each wire.
        self._partial = {}
        self._feeders = []

    def add_feeder(self, guest, sock, wire='tty'):
        self._feeders.append((guest, sock, wire))
        selector.register(sock, selectors.EVENT_READ, self._read)

    def remove_feeder(self, guest):
        self._read()
        for feeder in [f for f in self._feeders if f[0] is guest]:
            selector.unregister(feeder[1])
            self._feeders.remove(feeder)

    def _read(self):
        # In order: what the guest said on its last host comes first.
        for guest, sock, wire in list(self._feeders):
            while select.select([sock], [], [], 0)[0]:
                data = receive(sock)
                if not data:
                    selector.unregister(sock)
                    self._feeders.remove((guest, sock, wire))
                    break
                self._log.write(data)
                self.take(guest, wire, data)

    def expect_return(self):
        """The guest is to boot, or to be as it was before, once."""
        self._returns = {'tty', 'beat'}

    def returned(self):
        return not self._returns

    @property
    def line(self):
        """What the serial port has of a line that is not complete."""
        return self._partial.get('tty', b'').decode(errors='replace')

    def take(self, guest, wire, data):
        """Data have come from a guest, over one of its wires."""
        data = self._partial.get(wire, b'') + data
        *lines, self._partial[wire] = data.split(b'\n')
        for line in lines:
            text = line.decode(errors='replace').rstrip('\r')
            self.lines.append(text)
            m = re.search(r'(HB|IRQ) (\{.*\})$', text)
            try:
                beat = json.loads(m[2]) if m else None
            except ValueError:
                beat = None
            if beat:
                beat['guest'] = guest
                beat['at'] = time.monotonic()
                if m[1] == 'IRQ':
                    self.samples.append(beat)
                    continue
                if 'beat' in self._returns and self.beats and \
                   beat['seq'] <= self.beats[-1]['seq']:
                    self._returns.remove('beat')
                    self.beats.clear()
                self.beats.append(beat)
                if self.on_beat:
                    self.on_beat(beat)
            elif self._is_trouble(wire, text):
                self.trouble.append(text)

    def _is_trouble(self, wire, text):
        m = re.fullmatch(r'(.*)SEQ (\d+)', text)
        # The firmware may have left its line open.
        if m and (not m[1] or m[2] == '1' and not self._seq):
            last, self._seq = self._seq, int(m[2])
            if self._seq <= last and 'tty' in self._returns:
                self._returns.remove('tty')
                return False
            return self._seq != last + 1
        # From the first heartbeat on, all else that comes over the serial port
        # is the kernel's word on what it does not like.
        return self.TROUBLE.search(text) or (
            self._seq and wire == 'tty' and text and
            'tty' not in self._returns and
            not text.startswith('SAY ') and not self.HARMLESS.search(text))


class Guest(Machine):
    """A Linux guest under KVM in a host; see guest/heartbeat.c."""

    def __init__(self, host, slot=0, qemu='qemu-system-riscv64', harts=2,
                 aia='auto', irqchip=None, memory=128, image='',
                 program=None, console=None, arguments='', devices='', ports=2,
                 prealloc=True, cpu='host', incoming='-incoming defer',
                 started=None):
        """Starts it; with a console of another guest, as its destination.

        Image is the suffix of its kernel and initramfs, program what QEMU
        starts in place of that kernel.
        Arguments are more of them for its kernel, devices for its QEMU; ports
        how many its serial device has, all but one of them idle.  What is
        not allocated at the start is before a move from Linux 7.2, and that
        takes up to a minute in here, see docs/lab.md.  Started is called
        before the monitor of QEMU is expected to answer.
        """
        super().__init__(host, slot)
        self.harts = harts
        self.cpu = cpu
        incoming = incoming if console else ''
        self.console = console or Console(
            os.path.join(host.dir, f'guest{slot}.log'))
        self._tty = host.connect(f'tty{slot}')
        self.console.add_feeder(self, self._tty)
        self._beat = host.connect(f'beat{slot}')
        self.console.add_feeder(self, self._beat, 'beat')
        arguments = ('console=ttyS0 quiet panic=-1 HEARTBEAT_PORT=heartbeat '
                     f'{arguments}')
        if not host.passes_on_illegal_instructions():
            arguments += ' HEARTBEAT_NO_VECTOR=1'
        machine = 'virt,aia=aplic-imsic'
        if irqchip:
            machine += f',kernel-irqchip={irqchip}'
        wires = '/dev/virtio-ports'
        self.start(
            f'{qemu} -machine {machine} -accel kvm,riscv-aia={aia} '
            f'-cpu {cpu} '
            f'-smp {harts} -m {memory}M {"-mem-prealloc" if prealloc else ""} '
            f'-nodefaults -no-user-config '
            f'-display none -no-reboot '
            f'-kernel {program or f"/guest/Image{image}"} '
            f'-initrd /guest/initrd{image} '
            f'-append "{arguments}" '
            f'-chardev pipe,id=tty,path={wires}/tty{slot} -serial chardev:tty '
            f'-device virtio-serial-pci,id=idle,max_ports={ports},'
            f'vectors={2 * ports + 2} '
            f'-chardev pipe,id=beat,path={wires}/beat{slot} '
            f'-device virtserialport,chardev=beat,name=heartbeat '
            f'-netdev user,id=net '
            f'-device virtio-net-pci,netdev=net,romfile= '
            f'-blockdev null-co,node-name=disk,size={1 << 30},read-zeroes=on '
            f'-device virtio-blk-pci,drive=disk {devices} {incoming}',
            started)

    def disconnect(self):
        self.console.remove_feeder(self)
        super().disconnect()
        self._tty.close()
        self._beat.close()

    def beats(self):
        """The heartbeats that came from this host."""
        return [b for b in self.console.beats if b['guest'] is self]

    def wait_beats(self, count, timeout=300):
        """Waits for so many more heartbeats from here; returns the last."""
        wanted = len(self.beats()) + count
        deadline = time.monotonic() + timeout

        def arrived():
            if self.console.trouble:
                trouble = '; '.join(self.console.trouble[:5])
                raise LabError(f'the guest is in trouble: {trouble}\n'
                               f'{self._state()}')
            return len(self.beats()) >= wanted

        while True:
            try:
                self.wait(arrived, min(10, left(deadline)),
                          'waiting for heartbeats')
                return self.beats()[-1]
            except LabTimeout as e:
                self._explain_silence(e, not left(deadline))

    def _explain_silence(self, timeout, final):
        """Raises the reason if QEMU knows it, or if there is no time left."""
        state = self.qmp('query-status')['status']
        if state != 'running':
            raise LabError(f'host {self.host.name}: QEMU has stopped the '
                           f'guest ({state}): {self.job.stderr().strip()}')
        if final:
            last = '\n'.join(self.console.lines[-5:])
            raise LabTimeout(f'{timeout}; the last it said:\n{last}\n'
                             f'{self._state()}')

    def _state(self):
        """Where its harts are; twice, to tell who moves; in full to logs."""
        pcs = []
        with open(os.path.join(self.host.dir, f'guest{self.slot}.state'), 'w',
                  encoding='utf-8') as f:
            for command in ('info registers -a', 'info pic') * 2:
                try:
                    text = self.qmp('human-monitor-command',
                                    **{'command-line': command})
                except LabError as e:
                    return f'no more is known: {e}'
                f.write(text)
                pcs += re.findall(r'^ pc +(\w+)', text, re.MULTILINE)
        return f'harts at {" ".join(pcs)}; more in {f.name}'

    def wait_alive(self, count=3, patience=20, first=None):
        """Waits for signs of life from all parts; returns the last beat.

        They are looked for since the heartbeat first, or the next to come.
        Takes at least count heartbeats, and raises the names of the parts
        that have done nothing after as many as patience says.
        """
        first = first or self.wait_beats(1)
        for i in range(1, patience):
            last = self.wait_beats(1)
            dead = dead_parts(first, last)
            if not dead and i >= count:
                return last
        raise LabError(f'the guest on host {self.host.name} is dead after '
                       f'{patience} heartbeats: {", ".join(dead)}')

    def say(self, text):
        """Sends a line to the guest's serial port, and awaits the answer."""
        seen = len(self.console.lines)
        self.tell(f'say {text}')
        self.wait(lambda: any(line == f'SAY {text}' for line in
                              self.console.lines[seen:]),
                  60, 'waiting for an answer on its serial port')

    def tell(self, command):
        """Sends a command of heartbeat.c, and awaits nothing."""
        self.host.send(self._tty, f'{command}\n'.encode())

    def ask(self, command):
        """Sends a command of heartbeat.c; returns what it answers."""
        def answers():
            return [line[len('SAY '):] for line in self.console.lines[seen:]
                    if line.startswith('SAY ')]
        seen = len(self.console.lines)
        self.tell(command)
        return self.wait(answers, 60,
                         'waiting for an answer on its serial port')[0]


def dead_parts(first, last):
    """What did nothing in the guest between two heartbeats."""
    dead = []
    each_hart = [('load', 'ticks', None),
                 ('timer interrupts', 'irqs', 'timer')]
    if len(last['ticks']) > 1:
        each_hart.append(('IPIs', 'irqs', 'ipi'))
    for name, key, irq in each_hart:
        a, b = (beat[key][irq] if irq else beat[key] for beat in (first, last))
        dead += [f'{name} on hart {i}' for i, (x, y) in enumerate(zip(a, b))
                 if x >= y]
    for irq in ('serial', 'virtio-net', 'virtio-blk'):
        if sum(first['irqs'][irq]) >= sum(last['irqs'][irq]):
            dead.append(f'{irq} interrupts')
    if first['net']['replies'] >= last['net']['replies']:
        dead.append('network')
    if first['blk']['reads'] >= last['blk']['reads']:
        dead.append('disk')
    # Of guests with traffic; see guest/traffic.c.
    for name in ('packets', 'blocks', 'interrupts'):
        dead += [f'{name} of {key}' for key, count in
                 last.get(name, {}).items() if first[name][key] >= count]
    return dead


def lost_beats(beats):
    """How many heartbeats are missing among these.

    The guest numbers them.  One that comes twice, or a hart whose count of
    work has gone back, is worse than a loss: time has been turned back.
    """
    lost = 0
    for a, b in zip(beats, beats[1:]):
        if b['seq'] <= a['seq'] or any(x > y for x, y in
                                       zip(a['ticks'], b['ticks'])):
            raise LabError(f'the guest has gone back: heartbeat {a["seq"]} '
                           f'with ticks {a["ticks"]} was followed by '
                           f'{b["seq"]} with {b["ticks"]}')
        lost += b['seq'] - a['seq'] - 1
    if beats and beats[-1]['errors']:
        raise LabError(f'the guest has found {beats[-1]["errors"]} cases of '
                       f'corruption: {beats[-1]["first_error"]}')
    return lost


class MigrationFailed(LabError):
    """A migration that ended without moving the guest."""


PORT = 4444


def prepare_migration(guest, uri='', **parameters):
    """Sets what both sides of a migration need; a file does not answer."""
    guest.qmp('migrate-set-capabilities', capabilities=[
        {'capability': 'events', 'state': True},
        {'capability': 'return-path', 'state': not uri.startswith('file:')}])
    if parameters:
        guest.qmp('migrate-set-parameters', **parameters)


def listen(dst, uri=None):
    """Lets the destination wait for a guest; returns its address."""
    prepare_migration(dst)
    uri = uri or f'tcp:{dst.host.lan.ip}:{PORT}'
    dst.qmp('migrate-incoming', uri=uri)
    return uri


def migration_states(guest):
    """The states that the guest's QEMU has reported, oldest first."""
    return [e['data']['status'] for e in guest.events
            if e['event'] == 'MIGRATION']


def ended(guest):
    """Whether the guest's outgoing migration has come to an end."""
    return {'completed', 'failed', 'cancelled'} & set(migration_states(guest))


def begin(src, uri, **parameters):
    """Starts a migration."""
    prepare_migration(src, uri, **parameters)
    src.events.clear()
    src.qmp('migrate', uri=uri)


def send(src, uri, timeout=300, progress=None, every=1):
    """Migrates to the address; returns what query-migrate says at the end.

    Calls progress with what it says in between, each so many seconds.
    """
    begin(src, uri)
    deadline = time.monotonic() + timeout
    while not ended(src):
        if not left(deadline):
            raise LabTimeout(f'the migration to {uri} takes more than '
                             f'{timeout} s')
        try:
            src.wait(lambda: ended(src), min(every, left(deadline)), '')
        except LabTimeout:
            if progress:
                progress(src.qmp('query-migrate'))
    return outcome(src, uri)


def outcome(src, uri):
    """What query-migrate says of a migration that has ended.

    QEMU reports the end before it takes another command for the guest, and has
    no event for that.
    """
    while src.qmp('query-status')['status'] == 'finish-migrate':
        continue
    info = src.qmp('query-migrate')
    if info['status'] != 'completed':
        raise MigrationFailed(f'the migration to {uri} {info["status"]}: '
                              f'{info.get("error-desc", "no reason given")}')
    return info


# Of a guest whose QEMU is to be replaced: memory that another can take over.
UPDATABLE = ('-object memory-backend-memfd,id=ram,size=128M,share=on,'
             'prealloc=on -machine memory-backend=ram,aux-ram-share=on')


def update(src, **kwargs):
    """Has another QEMU of its host take over the guest, and its memory.

    Returns the guest as it is there, and what query-migrate says.
    """
    main, cpr = (f'/tmp/{name}{src.slot}' for name in ('main', 'cpr'))
    unix = {'transport': 'socket', 'type': 'unix'}

    def send_state():
        # The destination does nothing else before it has that connection.
        src.host.check(f"until grep -q ' 00010000 .* {cpr}$' /proc/net/unix; "
                       'do sleep 0.1; done')
        src.qmp('migrate', channels=[
            {'channel-type': name, 'addr': {**unix, 'path': path}}
            for name, path in (('main', main), ('cpr', cpr))])

    prepare_migration(src, mode='cpr-transfer')
    src.events.clear()
    dst = Guest(src.host, slot=1 - src.slot, harts=src.harts, cpu=src.cpu,
                console=src.console, devices=UPDATABLE, prealloc=False,
                incoming='-incoming defer -incoming cpr,addr.transport=socket,'
                         f'addr.type=unix,addr.path={cpr}',
                started=send_state, **kwargs)
    try:
        prepare_migration(dst)
        dst.qmp('migrate-incoming', uri=f'unix:{main}')
        src.wait(lambda: ended(src), 120, 'waiting for the other QEMU')
        return dst, outcome(src, main)
    except LabError as e:
        dst.kill()
        raise MigrationFailed(f'{e}; the other QEMU: '
                              f'{dst.job.stderr().strip()}') from None


def migrate(src, dst, uri=None, **arguments):
    """Moves a guest; both sides say that they are content, or it raises.

    The address is one of the LAN of the hosts if there is none.
    """
    info = send(src, listen(dst, uri), **arguments)
    dst.wait(lambda: 'completed' in migration_states(dst), 60,
             'waiting for the end of the incoming migration')
    return info
