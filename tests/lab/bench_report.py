# SPDX-License-Identifier: GPL-2.0-or-later
"""What make bench has measured: a line, a table, JSON and a picture."""

import itertools
import json
import os

import lab
import picture

WHERE = os.path.join(lab.BUILD, 'bench')
WAYS = ('save', 'load', 'loadvm')
KERNELS = {'stable': '6.12', 'testing': '7.2'}
# Guest interrupt files on each CPU of a host
FILES = {'enough': 7, 'few': 1, 'none': 0}


def spread(measure, digits=0):
    """A median, and least to most where they differ."""
    text = f'{measure["median"]:.{digits}f}'
    ends = [f'{measure[end]:.{digits}f}' for end in ('min', 'max')]
    return text if ends[0] == ends[1] else f'{text} ({"-".join(ends)})'


def ratio(a, b):
    """Of two medians, and the most that it could be either way."""
    return (f'{a["median"] / b["median"]:.2f} '
            f'({a["min"] / b["max"]:.2f}-{a["max"] / b["min"]:.2f})')


def short(row):
    """A case in a line, for progress."""
    found = row['measures']
    return '; '.join(
        f'{way} {spread(found[way]["aplic_accesses"])} + '
        f'{spread(found[way]["imsic_accesses_a_hart"])} a hart, '
        f'{spread(found[way]["aia_percent"])} %' for way in WAYS)


def table(rows):
    """Lines of the table; of each case, all variants."""
    form = ('{:<9}{:<7}{:>3} {:<8}{:<13}{:<7}{:>11}{:>10}{:>14}{:>14}{:>14}'
            '{:>12}')
    yield form.format('kernel', 'files', '', 'harts', '', '', 'APLIC',
                      'IMSIC', 'AIA %', 'asked %', 'vCPU %', 'AIA a hart')
    yield form.format('', '', '', '', 'variant', '', 'accesses', 'a hart',
                      'of devices', 'of devices', 'of devices', 'to 4 harts')
    four = {}
    for row in rows:
        if row['harts'] == 4 and row['mode'] == 'auto':
            four[row['kernel'], row['files'], row['variant']] = row
    for row in rows:
        for way in WAYS:
            m = row['measures'][way]
            base = four.get((row['kernel'], row['files'], row['variant']))
            to_four = '-'
            if base:
                b = base['measures'][way]['aia_us_a_hart']['median']
                if b:
                    to_four = f'{m["aia_us_a_hart"]["median"] / b:.2f}'
            first = way == WAYS[0]
            yield form.format(
                row['kernel'] if first else '', row['files'] if first else '',
                row['harts'] if first else '', row['mode'] if first else '',
                row['variant'] if first else '', way,
                spread(m['aplic_accesses']),
                spread(m['imsic_accesses_a_hart']),
                spread(m['aia_percent']), spread(m['asked_percent']),
                spread(m['cpu_percent']), to_four)


def against_base(rows, base):
    """Lines that tell the fork's device time by that of the base."""
    others = {(r['kernel'], r['files'], r['harts'], r['mode']): r
              for r in rows if r['variant'] == base}
    for row in rows:
        key = row['kernel'], row['files'], row['harts'], row['mode']
        other = others.get(key)
        if row['variant'] != 'fork' or not other:
            continue
        ratios = []
        for way in WAYS:
            a, b = (r['measures'][way]['devices_us'] for r in (row, other))
            ratios.append(f'{way} {ratio(a, b)}')
        yield f'{" ".join(map(str, key))}: {", ".join(ratios)}'


def against_order(rows):
    """Lines that tell the fork's accesses by those of the other VMM."""
    for row in rows:
        other = row.get('other_order')
        if not other or row['variant'] != 'fork':
            continue
        ratios = []
        for way in WAYS:
            theirs = other['save' if way == 'save' else 'load']
            ratios.append(
                f'{way} {spread(theirs["accesses"])}, time '
                f'{ratio(row["measures"][way]["aia_own_us"], theirs["us"])}')
        yield (f'{row["kernel"]} {row["files"]} {row["harts"]}: '
               f'{"; ".join(ratios)}')


def against_stock(wholes):
    """Lines that tell all of QEMU by those that lack the fork."""
    for ours, whole in itertools.product(wholes, wholes):
        if ours['kernel'] != whole['kernel'] or not ours['ours'] or \
                whole['ours']:
            continue
        ratios = [f'{name} {ratio(ours[key], whole[key])}' for key, name in
                  (('start_ms', 'start to quit'), ('rss_kib', 'RSS'),
                   ('downtime_ms', 'downtime')) if key in whole]
        yield (f'{whole["kernel"]}, {ours["variant"]} to {whole["variant"]}: '
               f'{", ".join(ratios)}')


def draw(path, rows):
    """An SVG: the AIA's part of the device time by harts, for each way."""
    lines = {}
    for row in rows:
        if row['mode'] == 'auto':
            lines.setdefault((row['kernel'], row['files'], row['variant']),
                             []).append(row)
    if not lines:
        return False
    width, height = 860, 340
    harts = sorted({row['harts'] for row in rows})
    bases = len({key[2] for key in lines}) > 1
    script = picture.head(path, width, height) + [
        "set multiplot layout 1,4 title 'APLIC and IMSIC, % of the time of "
        "all devices, by harts (median, least, most)' "
        f"textcolor rgb '{picture.INK}'",
        'set logscale x 2', f'set xtics ({", ".join(map(str, harts))})',
        f'set xrange [{harts[0] * 0.8}:{harts[-1] * 1.3}]',
        'set yrange [0:100]', 'unset key']
    names = []
    for i, key in enumerate(sorted(lines)):
        # A kernel has a kind of line, the base another than the fork.
        dash = 1 + 2 * (key[0] != 'stable') + (key[2] != 'fork')
        colour = picture.COLOURS[list(FILES).index(key[1])]
        names.append((f"dt {dash} lc rgb '{colour}'", ', '.join(
            (KERNELS[key[0]], f'files {key[1]}', *key[2:] * bases))))
    for way in WAYS:
        plots = []
        for i, (key, some) in enumerate(sorted(lines.items())):
            script += picture.block(f'{way}{i}', [
                (row['harts'], *(float(row['measures'][way]['aia_percent'][k])
                                 for k in ('median', 'min', 'max')))
                for row in sorted(some, key=lambda r: r['harts'])])
            plots.append(f'${way}{i} with yerrorlines pt 7 ps 0.4 '
                         f'{names[i][0]} notitle')
        script += [f"set title '{way}'", f'plot {", ".join(plots)}']
    # The last place is that of the names.
    script += ['unset title', 'unset border', 'unset tics',
               'set key center center samplen 2 spacing 1.2 Left reverse',
               'plot ' + ', '.join(f"NaN with lines {style} title '{name}'"
                                   for style, name in names)]
    picture.draw(path, script + ['unset multiplot', 'unset output'])
    return True


def write(report):
    """Prints the table, and writes report.json and report.svg."""
    os.makedirs(WHERE, exist_ok=True)
    path = os.path.join(WHERE, 'report.json')
    with open(path + '.tmp', 'w', encoding='utf-8') as f:
        json.dump(report, f, indent=4)
        f.write('\n')
    os.rename(path + '.tmp', path)
    rows = report['rows']
    print()
    for line in table(rows):
        print(f'  {line.rstrip()}')
    if report['base']:
        print('\n  time of all devices, the fork to '
              f'{report["base"]} (least-most):')
        for line in against_base(rows, report['base']):
            print(f'    {line}')
    print("\n  the other VMM's accesses, and the fork's time to its:")
    for line in against_order(rows):
        print(f'    {line}')
    if report['wholes']:
        print('\n  all of QEMU, the fork to QEMU without it:')
        for line in against_stock(report['wholes']):
            print(f'    {line}')
    for case in report['left_out']:
        print(f'  left out: {", ".join(case.values())}')
    print(f'\n  report: {path}')
    drawing = os.path.join(WHERE, 'report.svg')
    if draw(drawing, rows):
        print(f'  picture: {drawing}', flush=True)
