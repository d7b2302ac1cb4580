# SPDX-License-Identifier: GPL-2.0-or-later
"""make soak: a guest with many busy queues moves to and fro, all the time.

Two emulated hosts, A and B, and a guest whose cards and disk have a queue for
each hart.  The cards are on the LAN of the hosts, where A answers their
packets; the disk is a file that both hosts share.  What must not be lost is
told in guest/traffic.c, how its progress is judged in guests.py.  The output
is TAP, a line for each move.
"""

import argparse
import os
import re
import sys
import time

import guests
import lab
import options

HARTS = 4
CARDS = 3
# Of a serial device that uses but one of them; each has two interrupts.  In
# emul mode a hart has 31 identities for what Linux spreads over harts at its
# start.
PORTS = {'wide': 40, 'narrow': 30}
# MiB; so many queues take more than other guests have.
MEMORY = 160
MODULES = ('bridge', 'tun', 'vhost_net')
DISK_SIZE = 1 << 24
IMSIC_BASE = 0x28000000
MODES = ('auto', 'emul', 'hwaccel')


class Soak:
    """One run, as far as it has come."""

    def __init__(self, args):
        self.args = args
        self.hosts = []
        self.answers = None
        self.console = None
        self.downtimes = []
        self.done = 0

    def ok(self, text):
        self.done += 1
        print(f'ok {self.done} - {text}', flush=True)

    def boot(self):
        lan = f'soak-{os.getpid()}-{time.time_ns() % 10 ** 6}'
        for index, (name, kernel) in enumerate(zip('AB', self.args.kernels),
                                               1):
            self.hosts.append(lab.Host(name, kernel=kernel, lan=lan,
                                       index=index, guest_files=7,
                                       modules=MODULES))
        for host in self.hosts:
            host.wait_up()
            print(f'# host {host.name}: Linux {host.release}', flush=True)
            self.make_bridge(host)
        first, second = self.hosts
        with open(os.path.join(first.lan.files, 'disk'), 'wb') as f:
            f.truncate(DISK_SIZE)
        for card in range(1, CARDS + 1):
            first.check(f'ip addr add 10.1.{card}.1/24 dev br0')
        self.answers = first.spawn('exec /guest/heartbeat answer')
        second.check(f'ping -c 1 -W 30 {first.lan.ip}')

    @staticmethod
    def make_bridge(host):
        """Puts the host's place on the LAN behind a bridge, for taps."""
        host.check(f'''set -e
            echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
            ip link add br0 type bridge
            # Otherwise it has that of a port, which may leave.
            ip link set br0 address {host.lan.mac}
            echo 0 >/sys/class/net/br0/bridge/forward_delay
            ip addr flush dev eth0
            ip link set eth0 master br0
            ip link set br0 mtu {lab.MTU} up
            ip addr add {host.lan.ip}/24 dev br0''')

    def guest(self, host):
        """The guest on a host; waits for its state from the second on."""
        devices = [
            f'-netdev tap,id=tap{i},ifname=tap{i},queues={HARTS},'
            # The kernel's own device sends interrupts past QEMU.
            f'vhost={"off" if i == CARDS else "on"},'
            f'script={lab.HERE}/tap,downscript=no '
            f'-device virtio-net-pci,id=card{i},netdev=tap{i},mq=on,'
            f'mac=52:54:00:0b:00:{i:02x},romfile='
            for i in range(1, CARDS + 1)]
        devices += [
            '-blockdev file,node-name=shared,filename=/lan/disk,locking=off',
            f'-device virtio-blk-pci,drive=shared,num-queues={HARTS}']
        mode = self.args.mode[self.hosts.index(host)]
        # Words of the kernel that are worth a warning are complaints.
        arguments = (f'loglevel=5 ipv6.disable=1 TRAFFIC={self.layout()} '
                     'HEARTBEAT_PAUSE_MS=50')
        guest = guests.Guest(host, harts=HARTS, aia=mode, memory=MEMORY,
                             console=self.console, arguments=arguments,
                             devices=' '.join(devices),
                             ports=PORTS[self.layout()])
        self.console = guest.console
        return guest

    def layout(self):
        return 'narrow' if 'emul' in self.args.mode else 'wide'

    @staticmethod
    def identities(guest):
        """The (hart, identity) of each interrupt of a device, by its id."""
        found = {}
        for device in guest.qmp('query-pci')[0]['devices']:
            for region in device['regions']:
                # This is where virtio devices have the MSI-X table.
                if region['bar'] != 1 or not device['qdev_id']:
                    continue
                text = guest.qmp('human-monitor-command', **{
                    'command-line': 'xp /{}xw {:#x}'.format(
                        region['size'] // 8, region['address'])})
                words = [int(w, 16) for w in
                         re.findall(r' 0x([0-9a-f]{8})\b', text)]
                found[device['qdev_id']] = [
                    (words[i] - IMSIC_BASE >> 12, words[i + 2])
                    for i in range(0, len(words), 4)
                    if words[i] - IMSIC_BASE >> 12 in range(HARTS)]
        return found

    def check_layout(self, guest):
        """Whether the guest uses the identities that it was to use."""
        found = self.identities(guest)
        hart = HARTS - 1
        on_hart = sorted(number for entries in found.values()
                         for where, number in entries if where == hart)
        # The first entry is the one for changes of the configuration.
        busy = sorted(number for i in range(2, CARDS + 1)
                      for where, number in found[f'card{i}'][1:]
                      if where == hart)
        print(f'# hart {hart}: {len(on_hart)} identities up to {on_hart[-1]},'
              f' busy: {busy}', flush=True)
        if len(on_hart) <= 31:
            raise lab.LabError(f'only {len(on_hart)} interrupts are bound to '
                               f'hart {hart}')
        wanted = {0, 1, 2, 3} if self.layout() == 'wide' else {0, 2}
        groups = {number // 32 for number in busy}
        if groups != wanted:
            raise lab.LabError(
                f'busy identities are in the words {sorted(groups)} of the '
                f'file, not in {sorted(wanted)}')

    def check(self):
        """Raises what has been lost, if anything has."""
        lost = guests.lost_beats(self.console.beats)
        if lost:
            raise lab.LabError(f'{lost} heartbeats are lost')
        if self.answers.status is not None or self.answers.stdout():
            raise lab.LabError('host A, where packets are answered: ' +
                               self.answers.stdout() + self.answers.stderr())

    def start(self, host):
        """Starts the guest; returns it once it is busy."""
        guest = self.guest(host)
        first = guest.wait_beats(1)
        for name, count in (('packets', CARDS * HARTS), ('blocks', HARTS),
                            ('interrupts', (2 * CARDS + 1) * HARTS)):
            if len(first[name]) != count:
                raise lab.LabError(f'the guest has {name} of '
                                   f'{", ".join(first[name])} only')
        guest.say('hello')
        guest.wait_alive(first=first)
        self.check_layout(guest)
        self.check()
        return guest

    def move(self, guest, there, onward):
        """Moves the guest, and prepares the host to which it goes next.

        Returns the guest, and its next destination if there is one.
        """
        name = f'{guest.host.name} to {there.host.name}'
        info = guests.migrate(guest, there)
        guest.quit()
        guest = there
        there = self.guest(onward) if onward else None
        # The first heartbeat may have been made before the move.
        while len(guest.beats()) < 2:
            guest.wait_beats(1)
        first = guest.beats()[1]
        guest.say('hello')
        last = guest.wait_alive(count=1, first=first)
        self.check()
        self.downtimes.append(info['downtime'])

        def more(key):
            return sum(last[key].values()) - sum(first[key].values())

        self.ok(f'{name}: downtime {info["downtime"]} of '
                f'{info["total-time"]} ms; since then {more("interrupts")} '
                f'interrupts of all {len(last["interrupts"])} queues, '
                f'{more("packets")} packets, {more("blocks")} blocks')
        return guest, there

    def run(self):
        moves = self.args.moves
        print(f'1..{moves + 2}')
        self.boot()
        guest = self.start(self.hosts[0])
        self.ok('the guest is busy')
        there = self.guest(self.hosts[1])
        for i in range(moves):
            onward = self.hosts[i % 2] if i + 1 < moves else None
            guest, there = self.move(guest, there, onward)
        guest.quit()
        last = self.console.beats[-1]
        self.ok(f'nothing is lost: {last["seq"]} heartbeats, '
                f'{sum(last["packets"].values())} packets, '
                f'{sum(last["blocks"].values())} blocks')
        print(f'# {moves} moves, downtime {min(self.downtimes)} to '
              f'{max(self.downtimes)} ms; {last["unanswered"]} packets had to '
              'be sent again or were on their way at the end')


def parse():
    env = os.environ.get

    def pair(text):
        both = text.split(',')
        if len(both) > 2:
            raise argparse.ArgumentTypeError(f'{text!r} names more than two')
        return both[0], both[-1]

    def modes(text):
        if not set(pair(text)) <= set(MODES):
            raise argparse.ArgumentTypeError(
                f'{text!r} is not one of {", ".join(MODES)}, nor two of them '
                'with a comma, for A and B')
        return pair(text)

    p = argparse.ArgumentParser(
        prog='make soak', allow_abbrev=False,
        description='Variables of the same name in capitals do the same: '
                    'make soak MOVES=10 MODE=emul')
    p.add_argument('--moves', type=options.count('moves'),
                   default=env('MOVES') or '50',
                   help='how often the guest moves (default: 50)')
    p.add_argument('--mode', type=modes, default=env('MODE') or 'auto',
                   help='riscv-aia of the guest: auto (default), emul or '
                        'hwaccel; with a comma: of A and B')
    p.add_argument('--kernels', type=pair,
                   default=env('KERNELS') or 'testing,stable',
                   help='of A and B (default: testing,stable)')
    return p.parse_args()


def main():
    soak = Soak(parse())
    ok = False
    try:
        soak.run()
        ok = True
    except lab.LabError as e:
        reason, *more = str(e).splitlines()
        print(f'not ok {soak.done + 1} - {reason}')
        for line in more:
            print(f'# {line}')
        for host in soak.hosts:
            print(f'# logs: {host.dir}')
    finally:
        for host in soak.hosts:
            host.close(keep_logs=not ok)
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
