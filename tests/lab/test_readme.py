# SPDX-License-Identifier: GPL-2.0-or-later
"""What README.md has operators paste for libvirt, pasted and run.

The lines for apt are run by tests/deb.py.
"""

import readme
import tapunit
from domains import DEVICES, KERNEL, LibvirtTest
from package import EMULATOR

# What is not run here, and why
LEFT_OUT = {
    'make check-libvirt': 'it has a test of its own',
    'virsh shutdown': 'does nothing: BothWays.test_no_button',
    'virsh reboot': 'does nothing: BothWays.test_no_button',
    'virsh reset': 'BothWays.test_reboot and test_reset_in_move',
    'hwclock --hctosys': 'no RTC with <acpi/>; Libvirt.test_saved',
    'virsh domtime --sync guest': 'no agent; BothWays.test_agent',
    # Ways to move, in Libvirt and BothWays
    '--p2p --tunnelled': 'WAYS', '--postcopy': 'WAYS', '--parallel': 'WAYS',
    '--tls': 'WAYS', '--copy-storage-all': 'test_attached',
    'domjobabort': 'test_abort', 'vcpupin': 'test_live',
    'setmem': 'test_balloon', 'attach-device': 'test_attached',
    'reset': 'as virsh reset',
}
# What is part of what is run
NAMES = {'<aia>', '<acpi/>', 'qemu-efi-riscv64', 'guest.xml', 'virsh',
         'rtc-efi'}


class Readme(LibvirtTest):
    def setUp(self):
        super().setUp()
        if not self.package.file:
            self.skipTest("README.md is for the package: "
                          f'{self.package.words}')
        self.domain_xml, *self.lines = readme.blocks('libvirt')

    def xml(self):
        """README's domain, and what it says of CPUs elsewhere.

        The dots stand for what a domain has else; here that is the lab's.
        """
        cpu, = (b for b in readme.blocks('Unlike hosts') if '<cpu' in b)
        pins, = (b for b in readme.blocks('Limits') if '<cputune' in b)
        # These hosts have two CPUs.
        pins = readme.used(pins, [("cpuset='2'", "cpuset='0'"),
                                  ("cpuset='3'", "cpuset='1'")])
        self.assertIn(EMULATOR, self.domain_xml)
        self.assertIn("<allocation mode='immediate'/>",
                      readme.inline('Limits'))
        self.assertIn("<allocation mode='immediate'/>", self.domain_xml)
        return readme.used(self.domain_xml, [
            ("<cpu mode='host-passthrough'/>", cpu),
            ('</vcpu>', f'</vcpu>\n{pins}'),
            ('</type>', f'</type>\n{KERNEL.format(parts="")}'),
            ('...', DEVICES.format(slot=0))])

    def run_line(self, place, line):
        # These hosts have no sshd.
        if 'hostB' in line:
            line = readme.used(line, [('qemu+ssh://hostB',
                                       'qemu+tcp://testing')])
        print(f'# {place.host.name}: {line}')
        place.host.check(f'cd /tmp && {line}')

    def test_lines(self):
        begin, go_on = (block.splitlines() for block in self.lines)
        here, there = type(self).places = self.make_places('guest')
        here.listen()
        here.put('guest.xml', self.xml())
        here.host.check('cp /share/guest.xml /tmp/')
        for line in begin:
            if 'migrate' in line:
                self.is_whole(here)
                there.listen()
            self.run_line(here, line)
        self.is_whole(there)
        self.assertEqual(here.state(), 'shut off')
        self.assertRegex(there.log(), '(?m)^-cpu host,zbb=off,v=off ')
        for line in go_on:
            self.run_line(there, line)
            saved = there.state() == 'undefined'
            self.assertEqual(saved, ' save ' in line)
        self.is_whole(there)

    def test_all(self):
        """Nothing is in there that no test runs."""
        run = '\n'.join(self.lines) + self.domain_xml
        for code in readme.inline('libvirt'):
            with self.subTest(code):
                self.assertTrue(code in LEFT_OUT or code in NAMES or
                                code in run)


del LibvirtTest

if __name__ == '__main__':
    tapunit.main()
