# SPDX-License-Identifier: GPL-2.0-or-later
"""The program behind tests/lab/host."""

import argparse
import os
import re
import shlex
import shutil
import signal
import sys
import termios
import time

import lab
import options

LAB_FAILED = 125
TIMED_OUT = 124

EPILOG = """\
The host has this fork's qemu-system-riscv64 on its PATH, Debian's as
qemu-system-riscv64.stock, a guest kernel and initramfs under /guest, this
checkout, read only, in its own place, and build/riscv64 as /fork.  COMMAND
starts in /root, with /dev/null as its standard input.
COMMAND's status is the exit status; 124 tells of a time-out, 125 of a host
that did not come up or broke down, 2 of wrong options.
"""


def parse(argv):
    p = argparse.ArgumentParser(
        prog='tests/lab/host', epilog=EPILOG, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage='%(prog)s [OPTIONS] [-- COMMAND [ARGS...]]',
        description='Boots an emulated RISC-V host with KVM and AIA and runs '
                    'COMMAND in it, or an\ninteractive shell.')

    def lan_name(text):
        if not re.fullmatch(r'[A-Za-z0-9_-]{1,32}', text):
            raise argparse.ArgumentTypeError(
                f'{text!r} is not made of 1 to 32 letters, digits, _ and -')
        return text

    p.add_argument('--kernel', default='stable', metavar='WHICH',
                   help='stable, testing, backports, or a file: a kernel '
                        'image, with its modules, if any, in "modules" '
                        'beside it (default: stable)')
    p.add_argument('--cpus', type=options.number(1, 8), default=2, metavar='N',
                   help='harts of the host (default: 2)')
    p.add_argument('--cpu', default='rva23s64', metavar='MODEL',
                   help="CPU model of the outer emulator (default: "
                        "rva23s64; 'max' works too)")
    p.add_argument('--memory', type=options.number(256, 65536), default=1024,
                   metavar='MiB', help='memory of the host (default: 1024)')
    p.add_argument('--guest-files', type=options.number(0, 7), default=3,
                   metavar='N', help='IMSIC guest interrupt files per hart '
                                     '(default: 3)')
    p.add_argument('--lan', type=lan_name, metavar='NAME',
                   help='join the hosts of the same LAN name; see --index')
    p.add_argument('--index', type=options.number(1, 254), metavar='N',
                   help='be 10.0.0.N on the LAN')
    p.add_argument('--put', action='append', default=[],
                   metavar='PATH[:DEST]',
                   help='copy a file or directory of this machine into the '
                        "host, by default into /root")
    p.add_argument('--get', action='append', default=[], metavar='PATH:DEST',
                   help='copy a file or directory of the host to this '
                        'machine, whatever status COMMAND had')
    p.add_argument('--timeout', type=options.number(1, 10 ** 6),
                   metavar='SECONDS',
                   help='give up after that time, boot included')
    p.add_argument('command', nargs=argparse.REMAINDER,
                   help=argparse.SUPPRESS)
    args = p.parse_args(argv)
    if args.command and args.command[0] == '--':
        args.command.pop(0)
    elif args.command:
        p.error(f"unexpected argument {args.command[0]!r}; a command comes "
                "after '--'")
    if (args.lan is None) != (args.index is None):
        p.error('--lan and --index go together')
    return p, args


def say(text):
    print(f'host: {text}', file=sys.stderr, flush=True)


def split_put(p, text):
    """PATH[:DEST] as (PATH in here, DEST); the colon may be part of PATH."""
    path, dest = lab.machine_path(text), '/root/'
    if not os.path.lexists(path) and ':' in text:
        text, _, dest = text.rpartition(':')
        path = lab.machine_path(text)
    if not os.path.lexists(path):
        p.error(f'--put {text}: no such file or directory')
    return path, dest


def split_get(p, text):
    """PATH:DEST as (PATH, DEST in here)."""
    path, colon, dest = text.rpartition(':')
    if not colon or not path or not dest:
        p.error(f'--get {text}: PATH:DEST is needed')
    dest = lab.machine_path(dest)
    if not os.path.isdir(os.path.dirname(dest)):
        p.error(f'--get {text}: the directory of DEST does not exist')
    return path, dest


def put(host, files, timeout):
    for i, (path, dest) in enumerate(files):
        box = os.path.join(host.share, f'put{i}')
        os.mkdir(box)
        name = os.path.basename(path)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.copytree(path, os.path.join(box, name), symlinks=True)
        else:
            shutil.copy2(path, os.path.join(box, name), follow_symlinks=True)
        q = shlex.quote(dest)
        directory = q if dest.endswith('/') else f'"$(dirname {q})"'
        host.check(f'mkdir -p {directory} && '
                   f'cp -a {shlex.quote(f"/share/put{i}/{name}")} {q}',
                   timeout())
        shutil.rmtree(box)


def get(host, files, timeout):
    for i, (path, dest) in enumerate(files):
        box = os.path.join(host.share, f'get{i}')
        os.mkdir(box)
        host.check(f'cp -a {shlex.quote(path)} /share/get{i}/', timeout())
        name, = os.listdir(box)
        if os.path.isdir(dest):
            dest = os.path.join(dest, name)
        if os.path.isdir(dest):
            shutil.rmtree(dest)
        shutil.move(os.path.join(box, name), dest)


def write_to(fd):
    def write(data):
        while data:
            data = data[os.write(fd, data):]
    return write


def warn_of_missing_build():
    if not os.path.exists(lab.FORK):
        say('note: the fork is not built, so the host has only '
            'qemu-system-riscv64.stock; run make')


def session(args, puts, gets):
    """Everything that needs the host; returns the exit status."""
    begin = time.monotonic()
    deadline = args.timeout and begin + args.timeout
    interactive = not args.command
    warn_of_missing_build()

    def timeout(at_most=None):
        times = [t for t in (lab.left(deadline), at_most) if t is not None]
        return min(times) if times else None

    with lab.Host(kernel=args.kernel, cpus=args.cpus, cpu=args.cpu,
                  memory=args.memory, guest_files=args.guest_files,
                  lan=args.lan, index=args.index,
                  interactive=interactive) as host:
        say(f'booting ({args.cpus} harts {args.cpu}, {args.memory} MiB, '
            f'kernel {args.kernel}); console log: {host.console}')
        host.wait_up(timeout(lab.BOOT_TIMEOUT))
        say(f'Linux {host.release} is up after '
            f'{time.monotonic() - begin:.1f} s')
        put(host, puts, timeout)
        if interactive:
            say('this is its shell: leave with "exit", or at once with '
                'Ctrl-A x')
            host.start_shell()
            host.wait_end(timeout())
            return 0
        status, _ = host.run('cd /root; exec ' + shlex.join(args.command),
                             timeout(), stdout=write_to(1),
                             stderr=write_to(2))
        try:
            get(host, gets, timeout)
        except (lab.LabError, OSError) as e:
            say(f'error: --get: {e}')
            status = status or LAB_FAILED
        return status


def main():
    p, args = parse(sys.argv[1:])
    puts = [split_put(p, t) for t in args.put]
    gets = [split_get(p, t) for t in args.get]
    try:
        lab.Kernel(args.kernel)
    except lab.LabError as e:
        p.error(f'--kernel: {e}')
    terminal = None
    if not args.command:
        if not os.isatty(0):
            p.error('no COMMAND, and standard input is no terminal for a '
                    'shell')
        if gets:
            p.error('--get needs a COMMAND')
        terminal = termios.tcgetattr(0)
    try:
        return session(args, puts, gets)
    except lab.LabTimeout as e:
        if args.timeout:
            say(f'error: not done after {args.timeout} s (--timeout)')
            return TIMED_OUT
        say(f'error: {e}')
        return LAB_FAILED
    except lab.LabError as e:
        say(f'error: {e}')
        return LAB_FAILED
    except BrokenPipeError:
        return LAB_FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        if terminal:
            termios.tcsetattr(0, termios.TCSADRAIN, terminal)


if __name__ == '__main__':
    sys.exit(main())
