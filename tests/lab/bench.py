# SPDX-License-Identifier: GPL-2.0-or-later
"""make bench: what the fork's part of a save and a load costs.

A guest of tests/guests in emulated hosts, with so many harts and guest
interrupt files, moves from one QEMU to another of its host, and is saved to
a snapshot and loaded from it where it runs.  Counts come from the fork's own
trace events.  Times come from QEMU's events of the sections, and mean
something only as parts of each other: the outer emulator makes some things
slower than others.  See docs/bench.md.
"""

import argparse
import os
import re
import statistics
import struct
import sys
import time

import bench_report
import guests
import lab
import options
from bench_report import FILES
from machine import Machine

GUEST = os.path.join(lab.BUILD, 'guests/tick.elf')
# The same with no_upper set
LOWER = os.path.join(bench_report.WHERE, 'tick-lower.elf')
# See tests/qtest/riscv-aia/report.h.
REPORT_AT, HEADER, EACH, MOST_HARTS = 0x80400000, 8, 10, 16
NO_UPPER = 24
MAGIC = 0x4149412d7469636b
CPUS = 2
OF_AIA = re.compile(r'riscv[._]?(aplic|imsic)')


def make_lower():
    """A guest that keeps away from identities 32-63 and so on."""
    with open(GUEST, 'rb') as f:
        image = bytearray(f.read())
    at, = struct.unpack_from('<Q', image, 0x20)
    size, count = struct.unpack_from('<HH', image, 0x36)
    for entry in range(at, at + size * count, size):
        offset, address = struct.unpack_from('<QQ', image, entry + 8)
        if address == REPORT_AT:
            struct.pack_into('<Q', image, offset + NO_UPPER, 1)
            os.makedirs(os.path.dirname(LOWER), exist_ok=True)
            with open(LOWER, 'wb') as f:
                f.write(image)
            return
    raise lab.LabError(f'{GUEST} has no report')


def cases(args):
    """What is measured on each host: (files, harts, mode)."""
    for files in args.files:
        for harts in args.harts:
            # Taking turns on a file takes each hart a round of its own.
            if files == 'enough' or harts in (4, 16):
                yield files, harts, 'auto'
            if files == 'enough' and harts == 4:
                yield files, harts, 'emul'
                yield files, harts, 'hwaccel'


class Bare(Machine):
    """A QEMU with the guest of this bench."""

    def __init__(self, host, slot, qemu, harts, mode, guest=GUEST,
                 incoming=False):
        super().__init__(host, slot)
        self.harts = harts
        self.mode = mode
        self.read = 0
        self.start(
            f'{qemu} -machine virt,aia=aplic-imsic -accel '
            f'kvm,riscv-aia={mode} -cpu host -smp {harts} -m 16M '
            f'-nodefaults -no-user-config -display none -kernel {guest} '
            '-global migration.x-downtime-limit=3000 '
            "-trace 'kvm_riscv_aia_*' -trace 'vmstate_downtime_*' "
            f'{"-incoming defer" if incoming else "-S"}')
        if mode == 'hwaccel':
            self.pin()

    def pin(self):
        """No hart may leave a CPU that has files for all of them."""
        for cpu in self.qmp('query-cpus-fast'):
            self.host.check(f'taskset -p {1 << cpu["cpu-index"] % CPUS:x} '
                            f'{cpu["thread-id"]}')

    def ticks(self):
        """What each hart that the guest uses has counted."""
        count = min(self.harts, MOST_HARTS)
        text = self.qmp('human-monitor-command', **{
            'command-line': f'xp /{HEADER + EACH * count}gx {REPORT_AT:#x}'})
        words = [int(w, 16) for w in re.findall(r' 0x([0-9a-f]{16})', text)]
        if words[0] != MAGIC:
            return [0] * count
        return words[HEADER::EACH][:count]

    def wait_alive(self):
        """Until every hart has done something more."""
        before = self.ticks()
        deadline = time.monotonic() + 120
        while True:
            now = self.ticks()
            if all(a < b for a, b in zip(before, now)):
                return
            if not lab.left(deadline):
                raise lab.LabError(f'the guest is dead: {before}, then {now}')

    def traces(self):
        """The lines of trace events since the last call."""
        text = self.job.stderr()
        new, self.read = text[self.read:], len(text)
        return new

    def job_done(self, command, **arguments):
        """Runs a command that makes a job of its name, to its end."""
        self.events.clear()
        self.qmp(command, **{'job-id': 'job', **arguments})
        self.wait(lambda: any(
            e['event'] == 'JOB_STATUS_CHANGE' and
            e['data']['status'] == 'concluded' for e in self.events),
            180, command)
        job, = self.qmp('query-jobs')
        self.qmp('job-dismiss', id='job')
        if 'error' in job:
            raise lab.LabError(f'{command}: {job["error"]}')

    def add_disk(self):
        """A place for snapshots."""
        path = f'/tmp/disk{self.slot}'
        self.host.check(f': >{path}')
        self.qmp('blockdev-add', driver='file', filename=path,
                 **{'node-name': 'file0'})
        self.job_done('blockdev-create', options={
            'driver': 'qcow2', 'file': 'file0', 'size': 1 << 20})
        self.qmp('blockdev-add', driver='qcow2', file='file0',
                 **{'node-name': 'disk0'})

    def snapshot(self, command):
        self.job_done(command, tag='bench', vmstate='disk0',
                      devices=['disk0'])


def measure(text, way):
    """What the trace events of a save or a load tell."""
    events = {kind: [(int(a), int(us)) for a, us in re.findall(
        rf'kvm_riscv_aia_{way}_{kind} .*accesses:(\d+), us:(\d+)', text)]
        for kind in ('aplic', 'imsic')}
    if len(events['aplic']) != 1 or not events['imsic']:
        raise lab.LabError(f'no trace events of a {way}:\n{text[-2000:]}')
    sections = [(name, int(us)) for kind, name, us in re.findall(
        rf'vmstate_downtime_{way} type=(\S+) idstr=(.*) instance_id=\S+ '
        r'downtime=(\d+)', text) if kind == 'non-iterable']
    whole = sum(us for _, us in sections)
    if not whole:
        raise lab.LabError(f'no section in a {way}:\n{text[-2000:]}')
    aia = sum(us for name, us in sections if OF_AIA.search(name))
    cpu = sum(us for name, us in sections
              if re.match(r'cpu(/|$|_)', name))
    return {
        'aplic_accesses': events['aplic'][0][0],
        'imsic_accesses_a_hart': max(a for a, _ in events['imsic']),
        'aia_percent': 100 * aia / whole,
        'cpu_percent': 100 * cpu / whole,
        'devices_us': whole,
        'aia_us_a_hart': aia / len(events['imsic']),
    }


class Bench:
    """One run, as far as it has come."""

    def __init__(self, args, variants):
        self.args = args
        self.variants = variants
        self.begin = time.monotonic()
        self.rows = []
        self.left_out = []

    def say(self, text):
        print(f'[{time.monotonic() - self.begin:6.1f} s] {text}', flush=True)

    def run(self):
        for kernel in self.args.kernels:
            for files in self.args.files:
                todo = [c for c in cases(self.args) if c[0] == files]
                if not todo:
                    continue
                with lab.Host('bench', kernel=kernel, cpus=CPUS,
                              guest_files=FILES[files]) as host:
                    host.wait_up()
                    self.say(f'Linux {host.release}, guest files: {files} '
                             f'({FILES[files]} on each of {CPUS} CPUs)')
                    for _, harts, mode in todo:
                        self.case(host, kernel, files, harts, mode)

    def case(self, host, kernel, files, harts, mode):
        """All runs of a case; the variants take turns."""
        name = f'{harts} harts, {mode}'
        # Both sides of a move are on this host.  No kernel of today takes
        # upper identities without a file, see narrow-files.
        wide = mode != 'emul' and FILES[files] * CPUS >= 2 * harts
        found = {v: [] for v in self.variants}
        try:
            for _ in range(self.args.runs):
                for variant, qemu in self.variants.items():
                    found[variant].append(
                        self.round(host, qemu, harts, mode,
                                   GUEST if wide else LOWER))
        except lab.LabError as e:
            if host.failure:
                raise
            why = str(e).strip().splitlines()
            self.say(f'    {name}: left out: {why[0]}')
            self.left_out.append({
                'kernel': kernel, 'files': files, 'harts': harts,
                'mode': mode, 'why': '\n'.join(why)})
            return
        for variant, runs in found.items():
            row = {'kernel': kernel, 'release': host.release, 'files': files,
                   'harts': harts, 'mode': mode, 'wide': wide,
                   'variant': variant, 'measures': summary(runs)}
            self.rows.append(row)
            self.say(f'    {name}, {variant}: {bench_report.short(row)}')

    def round(self, host, qemu, harts, mode, guest):
        """Moves a new guest, saves it to a snapshot, and loads that."""
        machines = []
        try:
            src = Bare(host, 0, qemu, harts, mode, guest)
            machines.append(src)
            src.qmp('cont')
            src.wait_alive()
            dst = Bare(host, 1, qemu, harts, mode, guest, incoming=True)
            machines.append(dst)
            src.traces()
            dst.traces()
            info = guests.migrate(src, dst, uri='unix:/tmp/bench')
            dst.wait_alive()
            result = {'save': measure(src.traces(), 'save'),
                      'load': measure(dst.traces(), 'load'),
                      'move': {'downtime_ms': info['downtime'],
                               'total_ms': info['total-time']}}
            src.quit()
            dst.add_disk()
            dst.qmp('stop')
            dst.snapshot('snapshot-save')
            dst.traces()
            # It loads into a machine that has run since.
            dst.qmp('cont')
            dst.wait_alive()
            dst.qmp('stop')
            dst.snapshot('snapshot-load')
            result['loadvm'] = measure(dst.traces(), 'load')
            dst.qmp('cont')
            dst.wait_alive()
            dst.quit()
            return result
        finally:
            for machine in machines:
                machine.kill()


def summary(runs):
    """Median, least and most of each measure."""
    return {way: {key: {
        'median': statistics.median(values), 'min': min(values),
        'max': max(values), 'runs': len(values)}
        for key in runs[0][way]
        for values in [[run[way][key] for run in runs]]}
        for way in runs[0]}


def parse():
    env = os.environ.get

    def some_of(*known):
        def check(text):
            words = text.split(',')
            if not set(words) <= set(known):
                raise argparse.ArgumentTypeError(
                    f'{text!r} is not of {", ".join(known)}')
            return words
        return check

    def numbers(text):
        words = text.split(',')
        if not all(w.isdigit() and 1 <= int(w) <= 64 for w in words):
            raise argparse.ArgumentTypeError(
                f'{text!r} is not a list of numbers from 1 to 64')
        return [int(w) for w in words]

    p = argparse.ArgumentParser(
        prog='make bench', allow_abbrev=False,
        description='Variables of the same name in capitals do the same: '
                    'make bench HARTS=4 BASE=main')
    p.add_argument('--harts', type=numbers, default=env('HARTS') or
                   '1,4,16,64')
    p.add_argument('--kernels', type=some_of('stable', 'testing'),
                   default=env('KERNELS') or 'stable,testing')
    p.add_argument('--files', type=some_of(*FILES),
                   default=env('FILES') or 'enough,few,none',
                   help='guest interrupt files of the hosts')
    p.add_argument('--runs', type=options.count('runs'),
                   default=env('RUNS') or '5',
                   help='of each case')
    return p.parse_args()


def main():
    args = parse()
    variants = {'fork': 'qemu-system-riscv64'}
    if os.environ.get('BENCH_BASE'):
        variants[os.environ.get('BASE')] = os.environ['BENCH_BASE']
    bench = Bench(args, variants)
    ok = True
    try:
        for path in (lab.FORK, GUEST):
            if not os.path.exists(path):
                raise lab.LabError(f'there is no {path}; run make')
        make_lower()
        bench.run()
    except lab.LabError as e:
        bench.say(f'FAILED: {e}')
        ok = False
    except KeyboardInterrupt:
        bench.say('stopped; what has been measured is reported')
        ok = False
    bench_report.write({
        'seconds': round(time.monotonic() - bench.begin),
        'base': os.environ.get('BASE') or None,
        'rows': bench.rows, 'left_out': bench.left_out})
    return 0 if ok and not bench.left_out else 1


if __name__ == '__main__':
    sys.exit(main())
