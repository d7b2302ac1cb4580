# SPDX-License-Identifier: GPL-2.0-or-later
"""make demo: a guest with in-kernel AIA moves to another host and back.

Two emulated hosts, A and B, each with a Linux kernel of its own, on a LAN.
What counts at the end is what the guest says of itself: see
guest/heartbeat.c.  A picture shows it over time.
"""

import argparse
import json
import os
import sys
import time

import guests
import lab
import options
import package
import picture

SOURCES = ('timer', 'ipi', 'serial', 'virtio-net', 'virtio-blk')
REPORT = os.path.join(lab.BUILD, 'demo/report.json')
PICTURE = os.path.join(lab.BUILD, 'demo/migration{}.svg')
STOCK = 'qemu-system-riscv64.stock'
FORK = 'qemu-system-riscv64'


class Demo:
    """The demo, as far as it has come."""

    def __init__(self, args):
        self.args = args
        self.begin = time.monotonic()
        self.package = None if args.stock else package.Package()
        self.name = None        # of the QEMU, as words
        self.console = None
        # Of the picture, and when the guest came to where it is
        self.journey = None
        self.arrived = None
        self.said = 0
        self.report = {
            'kernel_a': None, 'kernel_b': None, 'qemu_version': None,
            'package': None,
            'harts': args.harts, 'aia_mode_a': args.aia[0],
            'aia_mode_b': args.aia[1], 'migrations': [], 'irqs': {},
            'result': 'not finished',
        }

    def say(self, text):
        for line in text.splitlines() or ['']:
            print(f'[{time.monotonic() - self.begin:6.1f} s] {line}',
                  flush=True)

    def show_beat(self, b):
        self.say(f'    guest on {b["guest"].host.name}: heartbeat '
                 f'{b["seq"]}, load {"+".join(map(str, b["ticks"]))} rounds, '
                 f'{b["net"]["replies"]} pings answered, '
                 f'{b["blk"]["reads"]} blocks read')

    def boot(self, stack):
        args = self.args
        self.say('This machine emulates two RISC-V hosts, A and B, with the '
                 'hypervisor\nextension and AIA (2 harts rva23s64, 1 GiB '
                 'each), joined by a virtual LAN.\nEach boots a kernel of '
                 'its own: Debian '
                 f'{args.kernel_a} on A, {args.kernel_b} on B.')
        lan = f'demo-{os.getpid()}-{time.time_ns() % 10 ** 6}'
        hosts = []
        for index, (name, kernel) in enumerate(
                (('A', args.kernel_a), ('B', args.kernel_b)), 1):
            hosts.append(lab.Host(name, kernel=kernel, lan=lan, index=index,
                                  package=self.package))
            stack.append(hosts[-1])
        for host in hosts:
            host.wait_up()
            self.say(f'host {host.name}: Linux {host.release}, /dev/kvm, '
                     f'{host.lan.ip}')
        self.report['kernel_a'] = hosts[0].release
        self.report['kernel_b'] = hosts[1].release
        hosts[0].check('ping -c 1 -W 30 10.0.0.2')
        return hosts

    def guest(self, host, aia, console=None):
        qemu = STOCK if self.args.stock else FORK
        guest = guests.Guest(host, qemu=qemu, harts=self.args.harts, aia=aia,
                             console=console,
                             arguments='HEARTBEAT_SAMPLES=1')
        v = guest.version
        self.report['qemu_version'] = '{major}.{minor}.{micro}'.format(
            **v['qemu']) + (f' ({v["package"]})' if v['package'] else '')
        return guest

    def progress(self, info):
        ram = info.get('ram')
        now = time.monotonic()
        if ram:
            self.journey.sent.append((now - self.journey.begin,
                                      ram['transferred'] / (1 << 20)))
        if ram and now - self.said >= 1:
            self.said = now
            self.say(f'    {info["status"]}: {ram["transferred"] >> 10} KiB '
                     f'sent, {ram["remaining"] >> 20} MiB of memory to go')

    def move(self, source, host, aia):
        there = self.guest(host, aia, source.console)
        name = f'{source.host.name} -> {host.name}'
        first = len(self.console.beats)
        self.say(f'migrating {name}, live, over TCP ...')
        entry = {'from': source.host.name, 'to': host.name, 'total_ms': None,
                 'downtime_ms': None, 'ticks_lost': None}
        self.report['migrations'].append(entry)
        begin = time.monotonic()
        self.journey.sent.append((begin - self.journey.begin, 0.0))
        try:
            info = guests.migrate(source, there, progress=self.progress,
                                  every=0.2)
        except lab.LabError:
            self.leave(source, None, 'lost')
            raise
        self.progress(info)
        self.journey.sent.append((time.monotonic() - self.journey.begin, 0.0))
        self.leave(source, there, f'{info["downtime"]} ms')
        entry['total_ms'] = info['total-time']
        entry['downtime_ms'] = info['downtime']
        self.say(f'QEMU says: {info["status"]} after {info["total-time"]} ms, '
                 f'{info["downtime"]} ms of them downtime.  Now the guest:')
        source.quit()
        there.wait_alive(5)
        there.say(f'hello on {host.name}')
        self.say(f'    it answers on its serial port: hello on {host.name}')
        entry['ticks_lost'] = guests.lost_beats(self.console.beats[first - 1:])
        return there

    def leave(self, source, there, text):
        """For the picture: the guest has left its host, or is lost."""
        journey, samples = self.journey, self.console.samples
        stopped = [e['at'] for e in source.events if e['event'] == 'STOP']
        resumed = [e['at'] for e in there.events
                   if e['event'] == 'RESUME'] if there else []
        stop = stopped[-1] if stopped else samples[-1]['at']
        journey.stays.append((self.arrived, stop,
                              f'on host {source.host.name}'))
        self.arrived = resumed[-1] if resumed else None
        journey.gaps.append((stop, self.arrived, text))

    def draw(self):
        """Draws what the guest did; returns where."""
        journey = self.journey
        if self.arrived:
            last = self.console.samples[-1]
            journey.stays.append((self.arrived, None,
                                  f'on host {last["guest"].host.name}'))
        path = PICTURE.format('-stock' if self.args.stock else '')
        r = self.report
        kernels = ['.'.join(r[key].split('.')[:2])
                   for key in ('kernel_a', 'kernel_b')]
        qemu = 'unpatched QEMU' if self.args.stock else 'this fork'
        journey.draw(path, 'Interrupts of a guest, each 0.1 s: '
                     f'{qemu}, {r["harts"]} harts, Linux {kernels[0]} on A, '
                     f'{kernels[1]} on B', SOURCES, self.console.samples)
        return path

    def qemu(self):
        """What it runs, in words."""
        if self.args.stock:
            return 'Debian\'s unpatched QEMU'
        if self.package.file:
            self.report['package'] = self.package.words
            return f'this fork, of the package {self.package.words}'
        if not os.path.exists(lab.FORK):
            raise lab.LabError(f'there is no {lab.FORK}; run make')
        return (f'this fork, of {os.path.relpath(lab.FORK, lab.TOP)}; '
                f'{self.package.words}')

    def run(self, stack):
        self.name = self.qemu()
        a, b = self.boot(stack)
        aia_a, aia_b = self.args.aia
        self.say(f'starting the guest on A: {self.args.harts} harts under '
                 f'KVM, riscv-aia={aia_a}, virtio-net,\nvirtio-blk, a load '
                 f'on every hart; its QEMU is\n{self.name}')
        guest = self.guest(a, aia_a)
        self.console = guest.console
        self.console.on_beat = self.show_beat
        before = guest.wait_alive(3)
        self.arrived = self.console.samples[0]['at']
        self.journey = picture.Journey(self.arrived)
        guest = self.move(guest, b, aia_b)
        guest = self.move(guest, a, aia_a)
        after = guest.wait_alive(3)
        for source in SOURCES:
            self.report['irqs'][source] = {
                'before': sum(before['irqs'][source]),
                'after': sum(after['irqs'][source])}
        lost = guests.lost_beats(self.console.beats)
        if lost:
            raise lab.LabError(f'{lost} heartbeats of the guest were lost')
        guest.quit()

    def table(self):
        r = self.report

        def row(*cells):
            print('  {:<18}{:>22}{:>22}'.format(*cells).rstrip())

        print()
        row('', 'host A', 'host B')
        row('kernel', r['kernel_a'] or '-', r['kernel_b'] or '-')
        row('AIA mode', r['aia_mode_a'], r['aia_mode_b'])
        print(f'  QEMU {r["qemu_version"] or "-"}, {r["harts"]} harts in the '
              'guest')
        if self.name:
            print(f'  {self.name}')
        print()
        row('migration', 'A -> B', 'B -> A')
        cells = r['migrations'] + 2 * [{}]
        for title, key, unit in (('total time', 'total_ms', ' ms'),
                                 ('downtime', 'downtime_ms', ' ms'),
                                 ('heartbeats lost', 'ticks_lost', '')):
            row(title, *('-' if m.get(key) is None else f'{m[key]}{unit}'
                         for m in cells[:2]))
        if r['irqs']:
            print()
            row('guest interrupts', 'before', 'after')
            for source, n in r['irqs'].items():
                row(source, n['before'], n['after'])
        print()
        print(f'  result: {r["result"]}', flush=True)

    def write_report(self):
        os.makedirs(os.path.dirname(REPORT), exist_ok=True)
        with open(REPORT + '.tmp', 'w') as f:
            json.dump(self.report, f, indent=4)
            f.write('\n')
        os.rename(REPORT + '.tmp', REPORT)


def parse():
    modes = ('auto', 'emul', 'hwaccel')

    def aia(text):
        both = text.split(',')
        if len(both) > 2 or not set(both) <= set(modes):
            raise argparse.ArgumentTypeError(
                f'{text!r} is not one of {", ".join(modes)}, nor two of them '
                'with a comma, for A and B')
        return both[0], both[-1]

    env = os.environ.get
    p = argparse.ArgumentParser(
        prog='make demo', allow_abbrev=False,
        description='Variables of the same name in capitals do the same: '
                    'make demo STOCK=1 AIA=emul')
    p.add_argument('--stock', action='store_true',
                   default=env('STOCK', '') not in ('', '0', 'no'),
                   help='use the unpatched QEMU, and see how it fails')
    p.add_argument('--aia', type=aia, default=env('AIA') or 'auto',
                   help='riscv-aia of the guest: auto, emul or hwaccel; with '
                        'a comma: of A and B')
    p.add_argument('--harts', type=options.number(2, 4),
                   default=env('HARTS') or '2',
                   help='harts of the guest')
    p.add_argument('--kernel-a', default=env('KERNEL_A') or 'stable')
    p.add_argument('--kernel-b', default=env('KERNEL_B') or 'testing')
    return p.parse_args()


def main():
    demo = Demo(parse())
    stack = []
    ok = False
    try:
        demo.run(stack)
        demo.report['result'] = 'ok'
        ok = True
    except lab.LabError as e:
        demo.report['result'] = ' '.join(str(e).split())
        demo.say(f'FAILED: {e}')
        if demo.args.stock:
            demo.say('That is what happens without this fork: the guest is '
                     'lost.')
    finally:
        if demo.journey:
            demo.journey.end = time.monotonic()
        for host in stack:
            host.close(keep_logs=not ok and not demo.args.stock)
        demo.write_report()
    demo.table()
    print(f'  report: {REPORT}')
    if demo.journey:
        try:
            print(f'  picture: {demo.draw()}')
        except lab.LabError as e:
            demo.say(f'FAILED: {e}')
            ok = False
    if stack and not ok and not demo.args.stock:
        print(f'  logs: {", ".join(host.dir for host in stack)}')
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
