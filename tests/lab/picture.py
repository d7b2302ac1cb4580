# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures of what the lab has seen, drawn by gnuplot."""

import os
import re
import subprocess

from events import LabError

# Each is to be seen on white and on black: nothing fills the background.
INK = '#808080'
COLOURS = ('#3b82f6', '#d97706', '#16a34a', '#c026d3', '#0891b2', '#dc2626')
RED = '#dc2626'
# Of a strip
COLUMNS = 300
# How much of a colour a shaded area has
FAINT = 'fs transparent solid 0.18 noborder'


def head(path, width, height):
    """The commands with which a script begins that draws one SVG."""
    return [
        f"set terminal svg size {width},{height} noenhanced rounded "
        "font 'sans-serif,12'",
        f"set output '{path}'",
        f"set border 3 lc rgb '{INK}'",
        f"set tics nomirror out scale 0.5 textcolor rgb '{INK}'",
        f"set key textcolor rgb '{INK}'",
        f"set title textcolor rgb '{INK}'",
    ]


def block(name, rows):
    """A data block: a line for each row."""
    return [f'${name} << END',
            *(' '.join(f'{x:.6g}' if isinstance(x, float) else str(x)
                       for x in row) for row in rows), 'END']


def draw(path, script):
    """Has gnuplot make the file of the script; raises what it says."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # It would go on with an older one.
    if os.path.exists(path):
        os.remove(path)
    done = subprocess.run(['gnuplot'], input='\n'.join(script) + '\n',
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode or not os.path.exists(path):
        raise LabError(f'gnuplot cannot draw {path}:\n{done.stdout[:2000]}')
    with open(path, encoding='utf-8') as f:
        text = f.read()
    # A tenth of a pixel is enough, and half of the bytes are of no use.
    text = re.sub(r"(?:points|d) ?= ?'[^']*'",
                  lambda m: re.sub(r'(\d\.\d)\d+\b', r'\1', m[0]), text)
    text = re.sub(r'<g [^>]*>\s*</g>\n?', '', text)
    text = re.sub(r'\n\s+', '\n', text)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


class Journey:
    """What a guest did over time, and where; see draw()."""

    def __init__(self, begin):
        # What the machine's monotonic clock says at the left edge
        self.begin = begin
        # (from, to, host), (from, to or None, text), (when, MiB)
        self.stays = []
        self.gaps = []
        self.sent = []
        self.end = None

    def strips(self, sources, samples):
        """For each source: (when, interrupts in a tenth of a second).

        A column is a sample, or several where columns would be too narrow.
        """
        found = {source: [] for source in sources}
        least = (self.end - self.begin) / COLUMNS
        first = samples[0]
        for a, b in zip(samples, samples[1:]):
            stop = [gap[0] for gap in self.gaps if a['at'] <= gap[0] < b['at']]
            taken = b['at'] - first['at']
            if not stop and taken < least:
                continue
            for i, source in enumerate(sources):
                # What was counted around a gap has no time of its own.
                more = 0 if stop else b['irqs'][i] - first['irqs'][i]
                when = stop[0] if stop else first['at']
                found[source].append((when - self.begin,
                                      more / max(1, taken / 0.1)))
            first = b
        for source in sources:
            found[source].append((first['at'] - self.begin, 0.0))
        return found

    def draw(self, path, title, sources, samples):
        """An SVG: a strip for each source, heartbeats, memory sent."""
        names = [*sources, 'MiB sent']
        top, strip, left = 64, 62, 118
        height = top + strip * len(names) + 46
        width = 860
        end = self.end - self.begin
        script = head(path, width, height)
        script += [
            "set multiplot", 'unset key',
            f'set lmargin at screen {left / width:.4f}',
            f'set rmargin at screen {1 - 16 / width:.4f}',
            f'set xrange [0:{end:.2f}]']
        for number, gap in enumerate(self.gaps, 1):
            to = end if gap[1] is None else gap[1] - self.begin
            script.append(
                f'set object {number} rectangle from {gap[0] - self.begin:.3f}'
                f', graph 0 to {max(to, gap[0] - self.begin + 0.02):.3f}, '
                f"graph 1 behind fc rgb '{RED}' {FAINT}")
        rows = self.strips(sources, samples)
        rows['MiB sent'] = self.sent or [(0.0, 0.0)]
        # A line of no length with round ends is a dot, in few bytes.
        beats = [(s['at'] - self.begin, 0.5) for s in samples]
        script += block('beats', [row for when, y in beats for row in
                                  ((when, y), (when + 0.001, y), ())])
        for i, name in enumerate(names):
            script += block(f'rows{i}', rows[name] or [(0.0, 0.0)])

        def place(first, last):
            """Strips from the first on, up to the last, from the top."""
            return [
                f'set tmargin at screen {1 - first / height:.4f}',
                f'set bmargin at screen {1 - last / height:.4f}']

        # Where the guest was, and a dot for each sign of it
        script += place(top - 26, top - 6) + [
            'unset border', 'unset tics', 'set yrange [0:1]',
            f'set label 1 "{title}" at screen {left / width:.4f}, screen '
            f"{1 - 15 / height:.4f} textcolor rgb '{INK}' font ',14'",
            f'set label 2 "heartbeats" at graph 0, graph 0.5 right offset '
            f"-1,0 textcolor rgb '{INK}'"]
        for number, (since, to, text) in enumerate(self.stays + self.gaps, 3):
            middle = (since + (to or self.end)) / 2 - self.begin
            colour = RED if number >= 3 + len(self.stays) else INK
            script.append(
                f'set label {number} "{text}" at {middle:.3f}, graph 1.4 '
                f"center textcolor rgb '{colour}' font ',11'")
        script += [f"plot $beats with lines lw 2.5 lc rgb '{INK}'",
                   'unset label', 'set border 3',
                   'set ytics']
        for i, name in enumerate(names):
            colour = COLOURS[i % len(COLOURS)]
            y = top + i * strip
            most = max(row[1] for row in rows[name] or [(0, 0)]) or 1
            script += place(y + 6, y + strip) + [
                f'set yrange [0:{most * 1.1:.3g}]',
                f'set ytics {self.step(most)}',
                f'set label 1 "{name}" at screen {8 / width:.4f}, graph '
                f"0.5 left textcolor rgb '{colour}'"]
            if i + 1 == len(names):
                script += ['set xtics format "%g s"']
            else:
                script += ['unset xtics']
            script.append(
                f"plot $rows{i} using 1:2 with fillsteps lc rgb '{colour}' "
                'fs transparent solid 0.75 noborder')
        script += ['unset multiplot', 'unset output']
        draw(path, script)

    @staticmethod
    def step(most):
        """A round number that is about half of the most."""
        step = 1.0
        while step * 10 <= most:
            step *= 10
        return step * (5 if most >= step * 5 else 2 if most >= step * 2.5
                       else 1)
