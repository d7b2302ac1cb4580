/*
 * Interrupts that devices send while they are loaded are not lost
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two devices of QEMU's do so of themselves.  intel-hda (00:01.0) sends its
 * MSI again when it is loaded with an interrupt status that is asserted.
 * virtio-net (00:02.0) has its configuration interrupt sent, by MSI-X, as soon
 * as it runs on the other side, to have the guest announce itself.  Each has
 * to come once.  A second round has the MSI-X vector masked: its interrupt
 * comes when it is unmasked.
 */

#include "aia.h"

#define ECAM   0x30000000UL
#define WINDOW 0x40000000UL     /* for BARs */

#define PCI_COMMAND      0x04
#define PCI_COMMAND_USE  0x06   /* memory and bus master */
#define PCI_BAR(n)       (0x10 + 4 * (n))
#define PCI_CAPABILITIES 0x34
#define PCI_CAP_MSI      0x05
#define PCI_CAP_VENDOR   0x09
#define PCI_CAP_MSIX     0x11
#define PCI_MSI_64BIT    (1U << 23)
#define PCI_MSI_ENABLE   (1U << 16)
#define PCI_MSIX_ENABLE  (1U << 31)

#define HDA_GCTL       0x08
#define HDA_WAKEEN     0x0c
#define HDA_INTCTL     0x20
#define HDA_INTCTL_ALL 0xc0000000

#define VIRTIO_DEVICE_FEATURE_SELECT 0x00
#define VIRTIO_DEVICE_FEATURE        0x04
#define VIRTIO_DRIVER_FEATURE_SELECT 0x08
#define VIRTIO_DRIVER_FEATURE        0x0c
#define VIRTIO_CONFIG_MSIX_VECTOR    0x10
#define VIRTIO_DEVICE_STATUS         0x14
#define VIRTIO_STATUS_DRIVER         0x03
#define VIRTIO_STATUS_FEATURES_OK    0x0b
#define VIRTIO_STATUS_DRIVER_OK      0x0f
#define VIRTIO_NET_F_CTRL_VQ         (1U << 17)
#define VIRTIO_NET_F_GUEST_ANNOUNCE  (1U << 21)
#define VIRTIO_F_VERSION_1           (1U << 0)  /* in the second word */

#define ID_HDA    10
#define ID_VIRTIO 70
#define ID_LAST   223
/* Pending and not enabled, beside each of the first two */
#define ID_QUIET  11
#define ID_QUIET2 71

static unsigned long msix_entry; /* address of the first one */

static unsigned long config(unsigned slot, unsigned reg)
{
    return ECAM + (slot << 15) + reg;
}

static unsigned find_capability(unsigned slot, uint8_t id, unsigned after)
{
    unsigned at = mmio_read(config(slot, after ? after & ~3U
                                              : PCI_CAPABILITIES));

    for (at = (after ? at >> 8 : at) & 0xfc; at;
         at = mmio_read(config(slot, at)) >> 8 & 0xfc) {
        if ((mmio_read(config(slot, at)) & 0xff) == id) {
            return at;
        }
    }
    fail("no PCI capability on slot", slot, 0, id);
    return 0;
}

/* Each BAR gets 1 MiB; one of 64 bits overwrites the next with 0. */
static unsigned long set_bar(unsigned slot, unsigned n)
{
    unsigned long addr = WINDOW + (slot * 8 + n) * 0x100000;

    mmio_write(config(slot, PCI_BAR(n)), addr);
    if ((mmio_read(config(slot, PCI_BAR(n))) & 6) == 4) {
        mmio_write(config(slot, PCI_BAR(n + 1)), 0);
    }
    mmio_write(config(slot, PCI_COMMAND), PCI_COMMAND_USE);
    return addr;
}

static void set_up_hda(unsigned slot)
{
    unsigned msi = find_capability(slot, PCI_CAP_MSI, 0);
    unsigned long regs = set_bar(slot, 0);

    check_equal("MSI with 64 bits", slot,
                mmio_read(config(slot, msi)) & PCI_MSI_64BIT, PCI_MSI_64BIT);
    mmio_write(config(slot, msi + 4), IMSIC_BASE);
    mmio_write(config(slot, msi + 8), 0);
    mmio_write(config(slot, msi + 12), ID_HDA);
    mmio_write(config(slot, msi), mmio_read(config(slot, msi)) |
               PCI_MSI_ENABLE);

    /* Out of reset it finds its codec, a change of state. */
    mmio_write(regs + HDA_GCTL, 1);
    mmio_write16(regs + HDA_WAKEEN, 0x7fff);
    mmio_write(regs + HDA_INTCTL, HDA_INTCTL_ALL);
}

/* The common configuration, structure 1 of its capabilities */
static unsigned long virtio_common(unsigned slot)
{
    unsigned at = 0;

    do {
        at = find_capability(slot, PCI_CAP_VENDOR, at);
    } while (mmio_read(config(slot, at)) >> 24 != 1);
    return set_bar(slot, mmio_read(config(slot, at + 4)) & 0xff) +
           mmio_read(config(slot, at + 8));
}

static void set_up_virtio(unsigned slot)
{
    unsigned msix = find_capability(slot, PCI_CAP_MSIX, 0);
    uint32_t table = mmio_read(config(slot, msix + 4));
    unsigned long common = virtio_common(slot);

    msix_entry = set_bar(slot, table & 7) + (table & ~7U);
    mmio_write(msix_entry, IMSIC_BASE);
    mmio_write(msix_entry + 4, 0);
    mmio_write(msix_entry + 8, ID_VIRTIO);
    mmio_write(msix_entry + 12, 0);
    mmio_write(config(slot, msix), mmio_read(config(slot, msix)) |
               PCI_MSIX_ENABLE);

    mmio_write8(common + VIRTIO_DEVICE_STATUS, VIRTIO_STATUS_DRIVER);
    mmio_write(common + VIRTIO_DRIVER_FEATURE_SELECT, 0);
    mmio_write(common + VIRTIO_DRIVER_FEATURE,
               VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_GUEST_ANNOUNCE);
    mmio_write(common + VIRTIO_DRIVER_FEATURE_SELECT, 1);
    mmio_write(common + VIRTIO_DRIVER_FEATURE, VIRTIO_F_VERSION_1);
    mmio_write8(common + VIRTIO_DEVICE_STATUS, VIRTIO_STATUS_FEATURES_OK);
    mmio_write16(common + VIRTIO_CONFIG_MSIX_VECTOR, 0);
    mmio_write8(common + VIRTIO_DEVICE_STATUS, VIRTIO_STATUS_DRIVER_OK);
    check_equal("status of virtio-net", slot,
                mmio_read(common + VIRTIO_DEVICE_STATUS) & 0xff,
                VIRTIO_STATUS_DRIVER_OK);
}

static void wait_for(uint32_t id)
{
    while (!taken[0].of[id]) {
        asm volatile("fence");
    }
}

static void check_taken(unsigned hda, unsigned virtio)
{
    send_msi(0, ID_LAST);
    wait_for(ID_LAST);
    check_equal("interrupts of intel-hda", 0, taken[0].of[ID_HDA], hda);
    check_equal("interrupts of virtio-net", 0, taken[0].of[ID_VIRTIO],
                virtio);
    check_equal("interrupts in all", 0, taken[0].num, hda + virtio + 1);
    check_equal("quiet", 0, imsic_read(IMSIC_EIP(0)) & -2UL, 1UL << ID_QUIET);
    check_equal("quiet", 2, imsic_read(IMSIC_EIP(2)), 1UL << (ID_QUIET2 - 64));
    forget_taken(0);
}

void main(unsigned long hart)
{
    start_traps(hart);
    imsic_write(IMSIC_EITHRESHOLD, 0);
    for (unsigned w = 0; w < 8; w += 2) {
        imsic_write(IMSIC_EIE(w), -1);
    }
    /*
     * So that a load has something to write to their registers, with which an
     * interrupt that came before would be gone.
     */
    imsic_write(IMSIC_EIE(0), ~(1UL << ID_QUIET));
    imsic_write(IMSIC_EIE(2), ~(1UL << (ID_QUIET2 - 64)));
    send_msi(0, ID_QUIET);
    send_msi(0, ID_QUIET2);
    imsic_write(IMSIC_EIDELIVERY, 1);
    csr_set(sie, SIE_SEIE);

    step = "set up";
    set_up_hda(1);
    set_up_virtio(2);
    check_taken(1, 0);

    checkpoint();
    step = "moved";
    /* The device is loaded long before the hart runs. */
    check_equal("interrupts of intel-hda at once", 0, taken[0].of[ID_HDA], 1);
    wait_for(ID_VIRTIO);
    check_taken(1, 1);

    mmio_write(msix_entry + 12, 1);
    checkpoint();
    step = "moved while masked";
    check_taken(1, 0);
    mmio_write(msix_entry + 12, 0);
    wait_for(ID_VIRTIO);
    check_taken(0, 1);
    pass();
}
