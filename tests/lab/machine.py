# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU in a host of lab.py, by its monitor."""

import json
import selectors
import time

from lab import LabError, receive, selector


class Machine:
    """A QEMU in one of the slots of a host."""

    def __init__(self, host, slot=0):
        """Connects to the slot; start() starts its QEMU."""
        self.host = host
        self.slot = slot
        self.events = []
        self.job = None
        self._read = 0
        self._replies = []
        self._partial = b''
        self._qmp = host.connect(f'qmp{slot}')
        selector.register(self._qmp, selectors.EVENT_READ, self._on_qmp)

    def start(self, command, started=None):
        """Starts a QEMU with options, all but those of its monitor.

        Started is called before its monitor is expected to answer.
        """
        self.job = self.host.spawn(
            f'exec {command} '
            f'-chardev pipe,id=qmp,path=/dev/virtio-ports/qmp{self.slot} '
            '-mon chardev=qmp,mode=control')
        try:
            if started:
                started()
            greeting = self.wait(lambda: self._replies, 180,
                                 'waiting for its QEMU to start').pop(0)
            self.version = greeting['QMP']['version']
            self.qmp('qmp_capabilities')
        except LabError:
            # A connection that stays open would keep the next guest out.
            self.kill()
            raise

    def _on_qmp(self):
        data = receive(self._qmp)
        if not data:
            self.host.forget(self._qmp)
        *lines, self._partial = (self._partial + data).split(b'\n')
        for line in lines:
            message = json.loads(line)
            if 'event' in message:
                message['at'] = time.monotonic()
                self.events.append(message)
            else:
                self._replies.append(message)

    def ended(self):
        """Why its QEMU has ended, or None while it has not."""
        if self.job.status is None:
            return None
        return (f'the QEMU of the guest on host {self.host.name} has ended '
                f'with status {self.job.status}: '
                f'{self.job.stderr().strip()}')

    def wait(self, condition, timeout, what):
        """Like Host.wait, but raises the end of the guest's QEMU, too."""
        def check():
            value = condition()
            if not value and self.job.status is not None:
                raise LabError(self.ended())
            return value
        return self.host.wait(check, timeout, f'guest: {what}')

    def qmp(self, command, timeout=180, **arguments):
        """Runs a QMP command; returns what it returns."""
        self.host.send(self._qmp, json.dumps(
            {'execute': command, 'arguments': arguments}).encode())
        reply = self.wait(lambda: self._replies, timeout, command).pop(0)
        if 'error' in reply:
            raise LabError(f"guest on host {self.host.name}: {command}: "
                           f"{reply['error']['desc']}")
        return reply['return']

    def traces(self):
        """The lines of trace events since the last call."""
        text = self.job.stderr()
        new, self._read = text[self._read:], len(text)
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
            raise LabError(f'{command}: {job["error"]}')

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
        self.job_done(command, tag='snapshot', vmstate='disk0',
                      devices=['disk0'])

    def quit(self):
        """Ends its QEMU by a command."""
        if self.job.status is None:
            self.host.send(self._qmp, b'{"execute":"quit"}')
        self._gone()

    def kill(self):
        """Ends its QEMU as a power failure would; again does no harm."""
        if self.host.failure:
            return
        self.job.kill()
        self._gone()

    def _gone(self):
        self.host.wait(lambda: self.job.status is not None, 60,
                       'waiting for the end of a guest')
        if self._qmp.fileno() >= 0:
            self.disconnect()

    def disconnect(self):
        """Its QEMU has ended; called once."""
        self.host.forget(self._qmp)
        self._qmp.close()
