#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes into docs/compatibility.md what the fleet's cases have seen.

   fleet.py LOG...

Each LOG is of a test of the suite fleet, in its long form.  A case tells in a
line between which QEMUs a guest was to move, which way, and what came of it
(tests/qtest/riscv-aia/fleet.c).
"""

import os
import re
import sys

import matrix

PAGE = os.path.join(matrix.TOP, 'docs/compatibility.md')
BEGIN = '<!-- begin: made by tests/runner/fleet.py LOG... -->\n'
LINE = re.compile(r'^[# ]*fleet: (.*?); (.*?); (.*?); (.*?); (.*)$')
CASE = re.compile(r'^(?:not )?ok \d+ ')
GUESTS = {'on': '', 'split': '`kernel-irqchip=split`',
          'aia=none': '`aia=none`'}


def reason(refusal):
    """Without what QEMU, as of 10.2, puts around it."""
    for around in (r'^refused: ', r'^[\w.-]+: ',
                   r'^load of migration failed: (Invalid argument: )?',
                   r'^.*post load hook failed .*minimum_version: \d+: ',
                   r' Make sure that your .*$'):
        refusal = re.sub(around, '', refusal)
    return refusal


def told(lines):
    """What cases have told that passed: (from, to, guest), way, result."""
    last = None
    for line in lines:
        if m := LINE.match(line):
            last = m.group(1, 2, 3), m[4], m[5].strip()
        elif CASE.match(line):
            if last and line.startswith('ok '):
                yield last
            last = None


def rows(all_told):
    """A row for each two QEMUs and guest."""
    pairs = {}
    for pair, way, result in all_told:
        pairs.setdefault(pair, []).append((way, result))
    for (source, destination, guest), seen in sorted(pairs.items()):
        ways = sorted({way for way, _ in seen})
        refusals = {reason(r) for _, r in seen if r.startswith('refused: ')}
        moves = {r.removeprefix('moves from ')
                 for _, r in seen if r.startswith('moves from ')}
        if refusals and moves:
            raise ValueError(f'{source} to {destination}, {guest}: some cases '
                             'move and some are refused')
        if moves:
            result = ('moves, there and back; modes: ' +
                      ', '.join(sorted(moves)))
        else:
            result = '; '.join(f'`{r}`' for r in sorted(refusals))
        yield [source, destination, GUESTS[guest], ', '.join(ways), result]


def table(all_told):
    return matrix.table(['from', 'to', 'guest', 'ways', 'seen'],
                        rows(all_told))


def main():
    if len(sys.argv) < 2:
        sys.exit('usage: fleet.py LOG...')
    lines = []
    for name in sys.argv[1:]:
        with open(name, encoding='utf-8', errors='replace') as f:
            lines += f
    seen = list(told(lines))
    if not seen:
        sys.exit('fleet.py: no case of the fleet has told anything in '
                 f'{", ".join(sys.argv[1:])}')
    matrix.change(PAGE, lambda text: matrix.put(text, BEGIN, table(seen)))


if __name__ == '__main__':
    main()
