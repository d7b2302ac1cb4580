/*
 * Guests that get all their memory before they move, and keep it meanwhile
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest is tests/guests/tick.c, which knows nothing of its balloon: the
 * test is the driver, in memory that the guest leaves alone.  As in "Virtual
 * I/O Device (VIRTIO) Version 1.2", 4.2.4 (legacy interface) and 5.5.
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include "qemu/atomic.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "migration/migration-qmp.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_mmio.h"
#include "standard-headers/linux/virtio_ring.h"
#include "pages.h"
#include "watched.h"

/* The first of the machine's places for a device of virtio */
#define DEVICE      0x10001000UL
#define PAGE        4096
#define RING(queue) (0x83000000UL + (queue) * 4 * PAGE)
#define NUM         4
#define USED        PAGE            /* behind the rest of a ring */
#define PFNS        0x83100000UL
#define PAGES       0x83200000UL
#define PATTERN     0x5a5a1234a5a56789UL

/* Of a balloon that reports free pages, and gives no hints */
enum { INFLATE = 0, REPORT = 3 };

typedef struct Balloon {
    QTestState *qts;
    uint16_t given[REPORT + 1];
    unsigned pages;
} Balloon;

static const char *const ends[] = { "completed", "failed", NULL };

static void add_queue(Balloon *b, unsigned queue)
{
    qtest_writel(b->qts, DEVICE + VIRTIO_MMIO_QUEUE_SEL, queue);
    g_assert_cmpuint(qtest_readl(b->qts, DEVICE + VIRTIO_MMIO_QUEUE_NUM_MAX),
                     >=, NUM);
    qtest_memset(b->qts, RING(queue), 0, 2 * PAGE);
    qtest_writel(b->qts, DEVICE + VIRTIO_MMIO_QUEUE_NUM, NUM);
    qtest_writel(b->qts, DEVICE + VIRTIO_MMIO_QUEUE_ALIGN, PAGE);
    qtest_writel(b->qts, DEVICE + VIRTIO_MMIO_QUEUE_PFN, RING(queue) / PAGE);
}

static void balloon_init(Balloon *b, QTestState *qts)
{
    memset(b, 0, sizeof(*b));
    b->qts = qts;
    g_assert_cmpuint(qtest_readl(qts, DEVICE + VIRTIO_MMIO_DEVICE_ID), ==, 5);
    qtest_writel(qts, DEVICE + VIRTIO_MMIO_STATUS,
                 VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    qtest_writel(qts, DEVICE + VIRTIO_MMIO_GUEST_PAGE_SIZE, PAGE);
    add_queue(b, INFLATE);
    add_queue(b, REPORT);
    qtest_writel(qts, DEVICE + VIRTIO_MMIO_STATUS,
                 VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                 VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Gives the device @len bytes at @addr, and waits until they are back. */
static void give(Balloon *b, unsigned queue, uint64_t addr, uint32_t len,
                 uint16_t flags)
{
    uint64_t ring = RING(queue), avail = ring + NUM * sizeof(struct vring_desc);
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    uint16_t n = b->given[queue]++;

    qtest_writeq(b->qts, ring, addr);
    qtest_writel(b->qts, ring + 8, len);
    qtest_writew(b->qts, ring + 12, flags);
    qtest_writew(b->qts, avail + 4 + n % NUM * 2, 0);
    qtest_writew(b->qts, avail + 2, n + 1);
    qtest_writel(b->qts, DEVICE + VIRTIO_MMIO_QUEUE_NOTIFY, queue);
    while (qtest_readw(b->qts, ring + USED + 2) != (uint16_t)(n + 1)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

/* Whether the host takes pages that the guest offers, each once */
static void check_takes(Balloon *b, bool takes, const char *when)
{
    for (int i = 0; i < 2; i++) {
        uint64_t page = PAGES + b->pages++ * PAGE;
        uint64_t got;

        qtest_writeq(b->qts, page, PATTERN);
        if (i == 0) {
            qtest_writel(b->qts, PFNS, page / PAGE);
            give(b, INFLATE, PFNS, 4, 0);
        } else {
            give(b, REPORT, page, PAGE, VRING_DESC_F_WRITE);
        }
        got = qtest_readq(b->qts, page);
        g_test_message("%s: a page that is %s is 0x%" PRIx64, when,
                       i == 0 ? "in the balloon" : "reported as free", got);
        g_assert_cmphex(got, ==, takes ? 0 : PATTERN);
    }
}

static void check_status(QTestState *qts, const char *status)
{
    QDict *info = migrate_query(qts);

    g_assert_cmpstr(qdict_get_str(info, "status"), ==, status);
    qobject_unref(info);
}

static void check_state(QTestState *qts, const char *state)
{
    g_autofree char *said = aia_query_faults(qts);
    g_autofree char *line = g_strdup_printf(
        "riscv-fault-shared-pages=auto; the remedy is %s", state);

    g_assert_nonnull(strstr(said, line));
}

/* Nobody takes away what the guest has got, as long as it is being sent. */
static void test_balloon(const void *opaque)
{
    static const AIACase c = {
        .move = &aia_move_live, .guest = "tick", .from = "auto",
        .to = "auto", .irqchip = "on", .harts = 2,
        .options = "-m 64M -device virtio-balloon-device,"
                   "bus=virtio-mmio-bus.0,free-page-reporting=on",
    };
    QTestState *qts = aia_start(&c, c.from, "");
    Balloon b;

    aia_tick_wait(qts, &c, 1);
    balloon_init(&b, qts);
    check_takes(&b, true, "at first");
    aia_send_slowly(qts);
    wait_for_migration_status(qts, "active", (const char **)ends);
    check_takes(&b, aia_is_linux_6(), "while it is being sent");
    aia_tick_wait(qts, &c, 5);
    migrate_cancel(qts);
    wait_for_migration_status(qts, "cancelled", (const char **)ends);
    check_takes(&b, true, "after that");

    /* It stands as its log begins. */
    aia_stop(qts);
    aia_send_to_nobody(qts);
    wait_for_migration_status(qts, "active", (const char **)ends);
    check_takes(&b, true, "while it stands");
    aia_cont(qts);
    check_takes(&b, aia_is_linux_6(), "when it has gone on");
    migrate_cancel(qts);
    wait_for_migration_status(qts, "cancelled", (const char **)ends);
    migrate_set_parameter_int(qts, "max-bandwidth", 1 << 30);
    aia_tick_wait(qts, &c, 5);
    qts = c.move->run(qts, &c);
    aia_tick_wait(qts, &c, 5);
    b.qts = qts;
    check_takes(&b, true, "where it has gone to");
    qtest_quit(qts);
}

/* At once, with no more of its memory than it has got, and all as before. */
static void test_cancel(const void *opaque)
{
    static const AIACase c = {
        .move = &aia_move_live, .guest = "tick", .from = "auto",
        .to = "auto", .irqchip = "on", .harts = 2,
        .options = "-m 256M -device virtio-balloon-device,"
                   "bus=virtio-mmio-bus.0,free-page-reporting=on",
    };
    uint64_t before, after;
    AIAWatched w;
    Balloon b;

    aia_watched_prepare(&w);
    w.fault->keeps = true;
    aia_watched_start(&w, &c, c.from, "");
    aia_tick_wait(w.qts, &c, 1);
    balloon_init(&b, w.qts);
    before = aia_proc_bytes(w.qts, "status", "RssAnon:");
    aia_send_slowly(w.qts);
    if (aia_is_linux_6()) {
        wait_for_migration_status(w.qts, "active", (const char **)ends);
        g_assert_cmpuint(qatomic_read(&w.fault->kept), ==, 0);
    } else {
        aia_watched_wait_count(&w.fault->kept);
        check_status(w.qts, "setup");
        check_state(w.qts, "in force");
    }
    /* Neither the guest nor the monitor waits for it. */
    aia_tick_wait(w.qts, &c, 5);
    check_takes(&b, aia_is_linux_6(), "when it has begun");
    migrate_cancel(w.qts);
    aia_tick_wait(w.qts, &c, 5);
    qatomic_set(&w.fault->keeps, false);
    wait_for_migration_status(w.qts, "cancelled", (const char **)ends);

    after = aia_proc_bytes(w.qts, "status", "RssAnon:");
    g_test_message("it had %" PRIu64 " MiB, it has %" PRIu64 " MiB",
                   before / MiB, after / MiB);
    g_assert_cmpuint(after, <, before + 32 * MiB);
    check_state(w.qts, aia_is_linux_6() ? "not needed" : "ready");
    check_takes(&b, true, "after that");
    aia_tick_wait(w.qts, &c, 5);
    g_assert_true(aia_is_running(w.qts));

    /* And it moves, when it is told to. */
    migrate_set_parameter_int(w.qts, "max-bandwidth", 1 << 30);
    aia_send_to_nobody(w.qts);
    wait_for_migration_complete(w.qts);
    g_assert_cmpuint(qatomic_read(&w.fault->kept), ==, !aia_is_linux_6());
    aia_watched_quit(&w);
}

/* Refused where a probe cannot tell, and asked anew the next time */
static void test_unknown(const void *opaque)
{
    static const AIACase c = {
        .move = &aia_move_live, .guest = "tick", .from = "auto",
        .to = "auto", .irqchip = "on", .harts = 2, .options = "-m 64M",
    };
    static const char *const other[] = { "completed", "cancelled", NULL };
    g_autofree char *at_first = NULL, *later = NULL;
    AIAWatched w;
    QDict *info;

    aia_watched_prepare(&w);
    aia_watched_start(&w, &c, c.from, "");
    aia_tick_wait(w.qts, &c, 1);
    aia_watched_arm(&w, KVM_CREATE_VM, 0, 0, 1, INT_MAX, EMFILE);
    aia_send_to_nobody(w.qts);
    wait_for_migration_status(w.qts, "failed", (const char **)other);
    g_assert_cmpuint(w.fault->failed, >, 0);
    info = migrate_query(w.qts);
    g_test_message("refused: %s", qdict_get_str(info, "error-desc"));
    g_assert_nonnull(strstr(qdict_get_str(info, "error-desc"),
                            "it cannot be found out whether KVM"));
    qobject_unref(info);
    aia_tick_wait(w.qts, &c, 5);
    at_first = aia_query_faults(w.qts);
    g_assert_nonnull(strstr(at_first, "shared-pages: unknown yet"));

    aia_watched_disarm(&w);
    aia_send_to_nobody(w.qts);
    wait_for_migration_complete(w.qts);
    later = aia_query_faults(w.qts);
    g_assert_nonnull(strstr(later, aia_is_linux_6() ? "shared-pages: good"
                                                    : "shared-pages: faulty"));
    aia_watched_quit(&w);
}

void aia_add_populate_tests(void)
{
    static const AIACase none;

    aia_add("riscv-aia/pages/balloon", &none, test_balloon);
    aia_add("riscv-aia/pages/cancel", &none, test_cancel);
    aia_add("riscv-aia/pages/unknown", &none, test_unknown);
}
