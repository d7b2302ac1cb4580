# SPDX-License-Identifier: GPL-2.0-or-later
"""make bench: what the fork's part of a save and a load costs.

A guest of tests/guests in emulated hosts, with so many harts and guest
interrupt files, moves from one QEMU to another of its host, and is saved to
a snapshot and loaded from it where it runs.  Counts come from the fork's own
trace events.  Times come from these and QEMU's events of the sections, and
mean something only as parts of each other: the outer emulator makes some
things slower than others.  See docs/bench.md.
"""

import argparse
import os
import re
import statistics
import struct
import subprocess
import sys
import time

import accesses
import bench_report
import guests
import lab
import options
from bench_report import FILES
from machine import Machine

GUEST = os.path.join(lab.BUILD, 'guests/tick.elf')
# The same with no_upper set
LOWER = os.path.join(bench_report.WHERE, 'tick-lower.elf')
# order.c
ORDER = os.path.join(bench_report.WHERE, 'order')
TRACES = ("-trace 'kvm_riscv_aia_*' -trace kvm_riscv_pmu_ask "
          "-trace 'vmstate_downtime_*'")
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


def make_order():
    done = subprocess.run(
        ['riscv64-linux-gnu-gcc', '-static', '-O2', '-Wall', '-Wextra',
         '-Werror', '-o', ORDER, os.path.join(lab.HERE, 'order.c')],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False)
    if done.returncode:
        raise lab.LabError(f'cannot compile order.c:\n{done.stdout}')


def other_order(host, harts):
    """What another VMM's order of accesses takes, on this host, now."""
    text = host.check(f'{ORDER} {harts} {CPUS}')
    return {way: {'accesses': int(n), 'us': int(us)} for way, n, us in
            re.findall(r'^(save|load) (\d+) (\d+)$', text, re.MULTILINE)}


def cases(args):
    """What is measured on each host: (files, harts, mode)."""
    for files in args.files:
        for harts in args.harts:
            # Taking turns on a file takes each hart a round of its own.
            if files == 'enough' or harts == 4:
                yield files, harts, 'auto'
            if files == 'enough' and harts == 4:
                yield files, harts, 'emul'
                yield files, harts, 'hwaccel'


# Without SBI PMU, of which harts have to be asked
NO_PMU = 'migratable=on'


class Bare(Machine):
    """A QEMU with the guest of this bench."""

    def __init__(self, host, slot, qemu, harts, mode, guest=GUEST,
                 incoming=False, traces=TRACES, cpu='host'):
        super().__init__(host, slot)
        self.harts = harts
        self.mode = mode
        self.log = f'/tmp/trace{slot}'
        self.start(
            f'{qemu} -machine virt,aia=aplic-imsic -accel '
            f'kvm,riscv-aia={mode} -cpu {cpu} -smp {harts} -m 16M '
            f'-nodefaults -no-user-config -display none -kernel {guest} '
            '-global migration.x-downtime-limit=3000 '
            f'{traces} -D {self.log} '
            f'{"-incoming defer" if incoming else "-S"}')
        if mode == 'hwaccel':
            self.pin()

    def traces(self):
        """From memory: on the share a line costs ten times an access."""
        text = self.host.check(f'tail -c +{self._read + 1} {self.log}')
        self._read += len(text)
        return text

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


def measure(text, way):
    """What the trace events of a save or a load tell."""
    aplic, files = accesses.counts(text, way)
    sections = [(name, int(us)) for kind, name, us in re.findall(
        rf'vmstate_downtime_{way} type=(\S+) idstr=(.*) instance_id=\S+ '
        r'downtime=(\d+)', text) if kind == 'non-iterable'
        # It is sent before the guest stops.
        and name != 'riscv_aia_shape']
    whole = sum(us for _, us in sections)
    if not whole:
        raise lab.LabError(f'no section in a {way}:\n{text[-2000:]}')
    asked, own = (sum(map(int, re.findall(rf'{event} .*\bus:(\d+)', text)))
                  for event in ('kvm_riscv_pmu_ask',
                                rf'kvm_riscv_aia_{way}_\w+'))
    aia = sum(us for name, us in sections if OF_AIA.search(name))
    # The SBI is asked for counters when the machine has stopped; by older
    # revisions of the fork in the section of the APLIC.
    if 0 <= text.find('kvm_riscv_pmu_ask') < text.find('src-vm-stopped'):
        whole += asked
        aia += asked
    cpu = sum(us for name, us in sections
              if re.match(r'cpu(/|$|_)', name))
    return {
        'aplic_accesses': aplic,
        'imsic_accesses_a_hart': max(files),
        'aia_percent': 100 * aia / whole,
        'asked_percent': 100 * asked / whole,
        'cpu_percent': 100 * cpu / whole,
        'devices_us': whole,
        'aia_us_a_hart': aia / len(files),
        'aia_own_us': own,
    }


class Bench:
    """One run, as far as it has come."""

    def __init__(self, args, variants, stock):
        self.args = args
        self.variants = variants
        self.stock = stock
        self.begin = time.monotonic()
        self.rows = []
        self.wholes = []
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
                    if files == 'enough' and self.stock:
                        self.beside_stock(host, kernel)

    def leave_out(self, why, **case):
        case['why'] = why.splitlines()[0]
        self.left_out.append(case)
        self.say(f'    left out: {", ".join(case.values())}')

    def case(self, host, kernel, files, harts, mode):
        """All runs of a case; the variants take turns."""
        # Both sides of a move are on this host.  No kernel of today takes
        # upper identities without a file, see narrow-files.
        wide = mode != 'emul' and FILES[files] * CPUS >= 2 * harts
        found = {v: [] for v in self.variants}
        slots = list(range(lab.SLOTS))
        moves = {v: Journey(host, qemu, harts, mode, GUEST if wide else LOWER,
                            slots)
                 for v, qemu in self.variants.items()}
        orders = []
        try:
            for _ in range(self.args.runs):
                for variant, journey in moves.items():
                    found[variant].append(journey.go_on())
                if mode == 'auto':
                    orders.append(other_order(host, harts))
        except lab.LabError as e:
            if host.failure:
                raise
            self.leave_out(str(e).strip(), kernel=kernel,
                           files=f'files {files}', harts=f'{harts} harts',
                           mode=mode)
            return
        finally:
            for journey in moves.values():
                journey.kill()
        for variant, runs in found.items():
            row = {'kernel': kernel, 'release': host.release, 'files': files,
                   'harts': harts, 'mode': mode, 'wide': wide,
                   'variant': variant, 'measures': summary(runs)}
            if orders:
                row['other_order'] = summary(orders)
            self.rows.append(row)
            self.say(f'    {harts} harts, {mode}, {variant}: '
                     f'{bench_report.short(row)}')

    def beside_stock(self, host, kernel):
        """The whole of QEMU, in turns with QEMUs that lack the fork."""
        fork = 'qemu-system-riscv64'
        qemus = {'fork': (fork, 'host'), NO_PMU: (fork, f'host,{NO_PMU}'),
                 **{name: (qemu, 'host') for name, qemu in self.stock.items()}}
        found = {name: [] for name in qemus}
        try:
            # What it is read from is cached then.
            for qemu in qemus.values():
                start_to_quit(host, *qemu)
            for _ in range(self.args.runs):
                for name, qemu in qemus.items():
                    found[name].append({'whole': whole(host, *qemu)})
        except lab.LabError as e:
            if host.failure:
                raise
            self.leave_out(str(e).strip(), kernel=kernel, what='stock')
            return
        for name, runs in found.items():
            self.wholes.append({'kernel': kernel, 'variant': name,
                                'ours': name not in self.stock,
                                **summary(runs)['whole']})


class Journey:
    """A guest that goes from one QEMU to the next, of the same variant.

    It stands while others have their turn.
    """

    def __init__(self, host, qemu, harts, mode, guest, slots):
        self.new = lambda **kwargs: Bare(host, slots.pop(), qemu, harts, mode,
                                         guest, **kwargs)
        self.slots = slots
        self.machines = []

    def go_on(self):
        """Moves it, saves it to a snapshot there, and loads that."""
        first = not self.machines
        if first:
            self.machines.append(self.new())
        src, = self.machines
        src.qmp('cont')
        if first:
            src.wait_alive()
        dst = self.new(incoming=True)
        self.machines.append(dst)
        src.traces()
        dst.traces()
        info = guests.migrate(src, dst, uri='unix:/tmp/bench')
        result = {'save': measure(src.traces(), 'save'),
                  'load': measure(dst.traces(), 'load'),
                  'move': {'downtime_ms': info['downtime'],
                           'total_ms': info['total-time']}}
        dst.wait_alive()
        src.quit()
        self.slots.append(src.slot)
        self.machines.remove(src)
        dst.add_disk()
        dst.qmp('stop')
        dst.snapshot('snapshot-save')
        dst.traces()
        # The machine has run since it began.
        dst.snapshot('snapshot-load')
        result['loadvm'] = measure(dst.traces(), 'load')
        dst.qmp('cont')
        dst.wait_alive()
        dst.qmp('stop')
        return result

    def kill(self):
        for machine in self.machines:
            machine.kill()


def start_to_quit(host, qemu, cpu):
    """How long that takes with 4 harts and -S, in ms."""
    uptime = '$(cut -d" " -f1 /proc/uptime)'
    times = host.check(
        f'a={uptime}; echo quit | {qemu} -machine virt,aia=aplic-imsic '
        f'-accel kvm -cpu {cpu} -smp 4 -m 16M -nodefaults -no-user-config '
        f'-display none -monitor stdio -S >/dev/null; echo $a {uptime}')
    began, ended = map(float, times.split()[-2:])
    return round(1000 * (ended - began))


def whole(host, qemu, cpu):
    """What all of QEMU takes, and the downtime as far as that QEMU can."""
    result = {'start_ms': start_to_quit(host, qemu, cpu)}
    machines = [Bare(host, 0, qemu, 4, 'auto', traces='', cpu=cpu)]
    try:
        src = machines[0]
        src.qmp('cont')
        src.wait_alive()
        result['rss_kib'] = int(host.check(
            f"awk '/VmRSS/ {{ print $2 }}' /proc/{src.job.pid()}/status"))
        machines.append(Bare(host, 1, qemu, 4, 'auto', incoming=True,
                             traces='', cpu=cpu))
        try:
            info = guests.migrate(src, machines[1], uri='unix:/tmp/whole')
            result['downtime_ms'] = info['downtime']
        except lab.LabError:
            # QEMU 10.0 aborts.
            if src.job.status is None:
                raise
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
    # VERSION=PATH ...
    stock = dict(word.split('=', 1) for word in
                 os.environ.get('BENCH_STOCK', '').split())
    bench = Bench(args, variants, stock)
    ok = True
    try:
        for path in (lab.FORK, GUEST):
            if not os.path.exists(path):
                raise lab.LabError(f'there is no {path}; run make')
        make_lower()
        make_order()
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
        'rows': bench.rows, 'wholes': bench.wholes,
        'left_out': bench.left_out})
    return 0 if ok and not bench.left_out else 1


if __name__ == '__main__':
    sys.exit(main())
