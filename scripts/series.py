# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the series for qemu-devel; for scripts/series.

What series/series.toml names goes into commits on top of a QEMU tree, without
what is the fork's own: what is between "#if AIA_FORK" and "#endif", and the
differences between the versions of QEMU.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

TOP = pathlib.Path(__file__).resolve().parent.parent
HUNK_FILES = re.compile(r'^\+\+\+ b/(\S+)', re.M)
SINCE = re.compile(r'QEMU_SINCE\((\d+), (\d+)\)')
VERSIONS = ((10, 1), (10, 2), (11, 0), (11, 1))


class SeriesError(Exception):
    """Why there is no series"""


def run(*command, cwd=None, text=None, accept=(0,)):
    done = subprocess.run(command, cwd=cwd, input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode not in accept:
        raise SeriesError('%s:\n%s' % (' '.join(command[:3]), done.stdout))
    return done.stdout


class Exporter:
    """What a file of the checkout is in a QEMU of one version"""

    def __init__(self, version):
        self.version = version
        self.defines = ['-DAIA_FORK=0']
        for v in VERSIONS:
            self.defines.append('-DQEMU_SINCE_%d_%d=%d' % (*v, version >= v))

    def text(self, path):
        text = (TOP / path).read_text()
        if path.endswith(('.c', '.h')):
            return self.source(text)
        # Where there is no preprocessor
        return re.sub(r'^# if AIA_FORK\n.*?^# endif\n', '', text,
                      flags=re.M | re.S).rstrip('\n') + '\n'

    def source(self, text):
        text = SINCE.sub(r'QEMU_SINCE_\1_\2', text)
        # 1: something was left out
        text = run('unifdef', *self.defines, text=text, accept=(0, 1))
        text = text.replace('#include "qemu/since.h"\n', '')
        if self.version >= (10, 2):
            text = text.replace('#include "migration/refused.h"\n', '')
            text = re.sub(r'^VMSTATE_(PRE_SAVE|POST_LOAD)_HOOK\(\w+\)\n', '',
                          text, flags=re.M)
            text = re.sub(r'\bVMSTATE_PRE_SAVE\((\w+)\)',
                          r'.pre_save_errp = \1', text)
            text = re.sub(r'\bVMSTATE_POST_LOAD\((\w+)\)',
                          r'.post_load_errp = \1', text)
        return re.sub(r'\n{3,}', '\n\n', text)


def patches_for(version):
    """Of patches/series, those for a version, as scripts/common.sh has it"""
    said = run('sh', '-c', 'top=.; . scripts/common.sh; patch_files "$1"',
               'sh', '%d.%d' % version, cwd=TOP)
    return [pathlib.Path(line).name for line in said.split()]


def parse_version(text):
    return tuple(int(n) for n in text.split('.')[:2])


class Series:
    def __init__(self, qemu, repo, author):
        self.qemu = qemu
        self.repo = repo
        self.author = author
        self.version = parse_version((qemu / 'VERSION').read_text())
        self.exporter = Exporter(self.version)
        self.patches = patches_for(self.version)
        self.files = []
        self.maintained = []

    def git(self, *args, **kwargs):
        name, email = self.author
        return run('git', '-c', 'user.name=' + name, '-c',
                   'user.email=' + email, '-c', 'core.autocrlf=false', *args,
                   cwd=self.repo, **kwargs)

    def take(self, path):
        """Has the repository QEMU's own file, as the base."""
        to = self.repo / path
        if not to.exists() and (self.qemu / path).exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.qemu / path, to)

    def begin(self, commits):
        self.git('init', '-q', '-b', 'series')
        touched = {'MAINTAINERS'}
        for commit in commits:
            for name in commit.get('patches', []):
                text = (TOP / 'patches' / name).read_text()
                touched.update(HUNK_FILES.findall(text))
            for path in commit.get('files', []) + commit.get('docs', []):
                # Its directory's list of sources
                touched.add(str(pathlib.Path(path).parent / 'meson.build'))
        touched.add('docs/devel/migration/index.rst')
        for path in sorted(touched):
            self.take(path)
        self.git('add', '-A')
        self.git('commit', '-q', '-m', 'QEMU')

    def apply(self, name):
        if name not in self.patches:
            return
        patch = TOP / 'patches' / name
        reject = self.repo / '.rejected'
        try:
            run('patch', '-p1', '-F1', '-N', '-s', '--no-backup-if-mismatch',
                '-r', str(reject), '-i', str(patch), cwd=self.repo)
        except SeriesError as error:
            text = reject.read_text() if reject.exists() else ''
            raise SeriesError('patches/%s does not fit %s:\n%s%s' % (
                name, self.qemu, error, text)) from None

    def edit(self, path, old, new):
        text = (self.repo / path).read_text()
        if text.count(old) != 1:
            raise SeriesError('%s: "%s" is expected there once' % (path, old))
        (self.repo / path).write_text(text.replace(old, new))

    def list_source(self, path):
        """Adds a source to the list that QEMU builds."""
        path = pathlib.Path(path)
        meson = str(path.parent / 'meson.build')
        if str(path.parent) == 'target/riscv/kvm':
            names = sorted(p.name for p in map(pathlib.Path, self.files)
                           if p.parent == path.parent and p.suffix == '.c')
            text = (self.repo / meson).read_text()
            lines = ''.join("  '%s',\n" % n for n in ['kvm-cpu.c'] + names)
            text = re.sub(r"(if_true: files\()[^)]*'kvm-cpu.c'[^)]*\)",
                          lambda m: m[1] + '\n' + lines + ')', text)
            (self.repo / meson).write_text(text)
        elif str(path.parent) == 'hw/intc':
            what = 'APLIC' if 'aplic' in path.name else 'IMSIC'
            line = "specific_ss.add(when: 'CONFIG_RISCV_IMSIC', "
            self.edit(meson, line, "specific_ss.add(when: ['CONFIG_KVM', "
                      "'CONFIG_RISCV_%s'],\n                if_true: files("
                      "'%s'))\n%s" % (what, path.name, line))
        elif str(path.parent) == 'migration':
            line = "  'savevm.c',\n"
            self.edit(meson, line, "  '%s',\n%s" % (path.name, line))

    def trace_events(self):
        """Those of target/riscv/kvm/trace-events that what is there uses"""
        path = 'target/riscv/kvm/trace-events'
        used = ''.join((self.repo / f).read_text() for f in self.files
                       if f.endswith('.c'))
        header, *parts = (TOP / path).read_text().split('\n\n')
        text = header + '\n'
        for part in parts:
            title, *events = part.strip().split('\n')
            events = [e for e in events if 'trace_%s(' % e.split('(')[0] in
                      used]
            if events:
                text += '\n' + '\n'.join([title] + events) + '\n'
        if text != header + '\n':
            (self.repo / path).write_text(text)

    def maintain(self, paths):
        """Adds new files to MAINTAINERS, a directory that is new as one."""
        name, email = self.author
        text = (self.repo / 'MAINTAINERS').read_text()
        new = []
        for path in paths:
            path = pathlib.Path(path)
            if not (self.qemu / path.parent).exists():
                path = str(path.parent) + '/'
            elif path.suffix in ('.c', '.h'):
                both = all(str(path.with_suffix(suffix)) in paths
                           for suffix in ('.c', '.h'))
                path = path.with_suffix('.[ch]') if both else path
            if str(path) not in self.maintained + new:
                new.append(str(path))
        if not new:
            return
        if not self.maintained:
            before = 'S390 KVM CPUs\n'
            text = text.replace(before, (
                'RISC-V KVM: migration and in-kernel AIA\nM: %s <%s>\n'
                'L: qemu-riscv@nongnu.org\nS: Maintained\n\n' % (name, email)
            ) + before, 1)
        at = text.index('\n\n', text.index('RISC-V KVM: migration'))
        text = text[:at] + ''.join('\nF: ' + p for p in new) + text[at:]
        self.maintained += new
        (self.repo / 'MAINTAINERS').write_text(text)

    def add(self, commit):
        for name in commit.get('patches', []):
            self.apply(name)
        files = [f for f in commit.get('files', [])
                 if parse_version(commit.get('until', {}).get(f, '99.0')) >
                 self.version]
        for path in files:
            to = self.repo / path
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_text(self.exporter.text(path))
            self.files.append(path)
        for path in files:
            if path.endswith('.c'):
                self.list_source(path)
        self.trace_events()
        for path in commit.get('docs', []):
            to = self.repo / path
            shutil.copyfile(TOP / 'series' / to.name, to)
            self.edit('docs/devel/migration/index.rst',
                      '   best-practices\n',
                      '   best-practices\n   %s\n' % to.stem)
        self.maintain(files + commit.get('docs', []))
        self.git('add', '-A')
        if not self.git('status', '--porcelain'):
            return
        self.git('commit', '-q', '-s', '-F', '-', text='%s\n\n%s' % (
            commit['subject'], commit.get('text', '').strip()))

    def write(self, out, cover):
        base = self.git('rev-list', '--max-parents=0', 'HEAD').strip()
        self.git('format-patch', '-q', '--cover-letter', '--no-signature',
                 '--stat=72', '-o', str(out), base)
        letter = next(out.glob('0000-*'))
        text = letter.read_text()
        text = text.replace('*** SUBJECT HERE ***', cover['subject'])
        text = text.replace('*** BLURB HERE ***', cover['text'].strip())
        letter.write_text(text)

    def check_style(self, out):
        """checkpatch, from the tree that the series is for"""
        for patch in sorted(out.glob('*.patch')):
            if patch.name.startswith('0000-'):
                continue
            said = run('perl', 'scripts/checkpatch.pl', '--terse', '-q',
                       str(patch), cwd=self.qemu, accept=(0, 1))
            if 'total: 0 errors, 0 warnings' not in said:
                raise SeriesError('checkpatch of %s:\n%s' % (patch.name, said))


def main():
    parser = argparse.ArgumentParser()
    for option in ('qemu', 'out', 'name', 'email'):
        parser.add_argument('--' + option, required=True)
    args = parser.parse_args()
    out = pathlib.Path(args.out).resolve()
    told = tomllib.loads((TOP / 'series/series.toml').read_text())
    with tempfile.TemporaryDirectory() as work:
        new = pathlib.Path(work) / 'out'
        repo = pathlib.Path(work) / 'repo'
        repo.mkdir()
        series = Series(pathlib.Path(args.qemu), repo,
                        (args.name, args.email))
        try:
            series.begin(told['commit'])
            for commit in told['commit']:
                series.add(commit)
            series.write(new, told['cover'])
            series.check_style(new)
        except SeriesError as error:
            sys.exit('series: error: %s' % error)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(new, out)


if __name__ == '__main__':
    main()
