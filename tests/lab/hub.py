# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire between emulated hosts: hub.py DIRECTORY

Each host on the LAN has a datagram socket in the directory, named by its
index.  A frame that comes in at the socket "hub" goes to all but its sender.
"""

import fcntl
import os
import socket
import struct
import sys
import threading


def end_with_parent():
    """The parent closes our standard input, or dies, which does it too."""
    sys.stdin.buffer.read()
    os._exit(0)


def main():
    os.chdir(sys.argv[1])
    threading.Thread(target=end_with_parent, daemon=True).start()
    # One hub works, the others wait for their turn.
    lock = open('hub.lock', 'w')
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.path.exists('hub'):
        os.unlink('hub')
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind('hub')
    # A host that is stuck must not hold up the others for long.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO,
                    struct.pack('ll', 1, 0))
    while True:
        frame, sender = sock.recvfrom(1 << 17)
        sender = os.path.basename(sender or '')
        for name in os.listdir('.'):
            if not name.isdigit() or name == sender:
                continue
            try:
                sock.sendto(frame, name)
            except OSError:
                # Gone, or not there yet: frames get lost, as on a wire.
                pass


if __name__ == '__main__':
    main()
