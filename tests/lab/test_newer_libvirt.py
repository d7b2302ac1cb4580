# SPDX-License-Identifier: GPL-2.0-or-later
"""Domains that move between Debian 13's libvirt and that of testing."""

import os
import re

import tapunit
from domains import LibvirtTest


class NewerLibvirt(LibvirtTest):
    """The host with Linux 7.2 has the newer one, and the libraries with it.

    So the package, which is for Debian 13, is not installed.
    """

    WAYS = ('--p2p --persistent --undefinesource',
            '--postcopy --postcopy-after-precopy', '')

    @classmethod
    def host_options(cls):
        options = super().host_options()
        for option in options.values():
            option['package'] = None
        options['testing']['root'] = os.environ['LAB_NEWER_HOSTROOT']
        return options

    def test_versions(self):
        """They are not the same."""
        versions = [
            tuple(map(int, re.search(r'(\d+)\.(\d+)', place.host.check(
                'virsh -q version --daemon | grep "daemon:"')).groups()))
            for place in self.domain()]
        print('# libvirt', *versions)
        self.assertEqual(versions[0][0], 11)
        self.assertGreaterEqual(versions[1], (12, 8))

    def test_ways(self):
        """To the newer one, and back."""
        for options in self.WAYS:
            with self.subTest(options):
                for _ in range(2):
                    self.is_whole(self.move(f'--live {options}'))

    def test_saved(self):
        """Saved by either, restored by the other"""
        for _ in range(2):
            here, there = self.domain()
            here.virsh('save guest /lan/saved')
            there.listen()
            there.virsh('restore /lan/saved')
            type(self).places = there, here
            self.is_whole(there)


del LibvirtTest

if __name__ == '__main__':
    tapunit.main()
