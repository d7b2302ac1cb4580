# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs QEMU's own qtests for riscv64, and tells of each program in TAP.

   tests/qemu-qtests.py BUILDDIR [--only NAME...]
"""

import json
import os
import subprocess
import sys

SUITE = 'qtest-riscv64'
# Those that have a test of their own
OTHERS = ('migration-test', 'riscv-aia-migration-test')
LACKING = {'bios-tables-test':
           'needs the firmware edk2, which is in no source package of Debian'}
LOG = 'meson-logs/qemu-qtests'


def names(meson):
    """Those that QEMU's meson.build declares."""
    listed = subprocess.run([*meson, '--no-rebuild', '--list', '--suite',
                             SUITE], stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.DEVNULL, check=True).stdout
    found = [line.split(SUITE + '/')[-1].strip()
             for line in listed.splitlines() if f'{SUITE}/' in line]
    return [n for n in found if n not in OTHERS]


def read(path):
    """Meson's records by name; none of one that is cut off."""
    found = {}
    try:
        with open(path, encoding='utf-8', errors='replace') as f:
            for line in f:
                try:
                    record = json.loads(line)
                    found[record['name'].split('/')[-1]] = record
                except ValueError:
                    pass
    except OSError:
        pass
    return found


def tell(number, name, record):
    """Returns whether all is well."""
    result = record['result'] if record else 'not run'
    if name in LACKING:
        print(f'ok {number} {name} # SKIP {LACKING[name]}')
    elif result == 'SKIP':
        print(f'ok {number} {name} # SKIP it skips all its cases')
    elif result == 'OK' and record['returncode'] == 0:
        print(f'ok {number} {name}')
    else:
        if record:
            words = (record['stdout'] + record.get('stderr', '')).splitlines()
            for line in words[-12:]:
                print(f'# {line}')
        print(f'# meson says: {result}')
        print(f'not ok {number} {name}')
        return False
    return True


def main():
    build = os.path.join(os.path.abspath(sys.argv[1]), 'native')
    only = sys.argv[3:]
    meson = [os.path.join(build, 'pyvenv/bin/meson'), 'test', '-C', build]
    tests = only or names(meson)
    print(f'1..{len(tests)}', flush=True)
    if not tests:
        return 1
    path = os.path.join(build, LOG + '.json')
    if os.path.exists(path):
        os.remove(path)
    done = subprocess.run(
        [*meson, '--num-processes', '2', '--timeout-multiplier', '10',
         '--logbase', os.path.basename(LOG),
         *(f'{SUITE}/{t}' for t in tests if t not in LACKING)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False)
    records = read(path)
    if not records:
        print(''.join(f'# {line}\n' for line in
                      done.stdout.splitlines()[-20:]), end='')
    well = [tell(i, name, records.get(name))
            for i, name in enumerate(tests, 1)]
    # Meson may have seen what is in none of its records.
    return 0 if all(well) and done.returncode == 0 else 1


if __name__ == '__main__':
    sys.exit(main())
