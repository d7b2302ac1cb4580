/*
 * Accesses of a save or a load, one of which is made to fail
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "migration/migration-qmp.h"
#include "qobject/qdict.h"
#include "faults.h"

#define REG_TYPE(id)    ((id) >> 24 & 0xff)
#define REG_TYPE_TIMER  4
/*
 * Core registers up to mode, which is none of QEMU's, and general CSRs up to
 * senvcfg; <asm/kvm.h> may be that of another architecture.
 */
#define REG_CORE        0x8030000002000000ULL
#define NUM_CORE_REGS   32
#define REG_MODE        (REG_CORE + NUM_CORE_REGS)
#define REG_SSTATUS     0x8030000003000000ULL
#define NUM_CSRS        11
#define REG_VLENB       0x8030000009000004ULL

const AIACase fault_tick = {
    .guest = "tick", .from = "auto", .to = "auto", .irqchip = "on",
    .harts = 2, .options = "-m 16M",
};

const int fault_errors[FAULT_ERRORS] = {
    EFAULT, ENODEV, EINTR, EBUSY, ENOMEM,
};

bool is_attr(const Access *a)
{
    return a->request == KVM_GET_DEVICE_ATTR ||
           a->request == KVM_SET_DEVICE_ATTR;
}

static bool same_group(const Access *a, const Access *b)
{
    return a->request == b->request &&
           (!is_attr(a) || GROUP(a->subject) == GROUP(b->subject));
}

/*
 * What belongs to save and load; QEMU aborts where the timer's fail, and takes
 * no notice of vlenb's (docs/qemu-facts.md).
 */
static bool may_fail(const Access *a)
{
    switch (a->request) {
    case KVM_GET_ONE_REG:
    case KVM_SET_ONE_REG:
        return REG_TYPE(a->subject) != REG_TYPE_TIMER &&
               a->subject != REG_VLENB;
    case KVM_GET_DEVICE_ATTR:
    case KVM_SET_DEVICE_ATTR:
    case KVM_GET_MP_STATE:
    case KVM_SET_MP_STATE:
    case KVM_IRQ_LINE:
    case KVM_RUN:
    case KVM_SET_USER_MEMORY_REGION:
    case KVM_SIGNAL_MSI:
        return true;
    default:
        return false;
    }
}

void log_accesses(AIAWatched *w)
{
    w->fault->guest_only = true;
    aia_watched_arm(w, FAULT_ANY, 0, 0, 0, 0, 0);
}

/*
 * QEMU reads them of itself, and is not good at it if that fails
 * (docs/qemu-facts.md).  Where the fork reads them too, nothing tells whose
 * read the nth is when the guest has run.
 */
static bool is_read_by_qemu(const Access *a)
{
    return a->request == KVM_GET_ONE_REG &&
           (a->subject - REG_CORE < NUM_CORE_REGS ||
            a->subject - REG_SSTATUS < NUM_CSRS);
}

/*
 * What has been logged, from the first attribute or entry into the guest on:
 * before, a save reads the registers that QEMU itself carries.
 */
GArray *logged_accesses(AIAWatched *w)
{
    GArray *list = g_array_new(false, false, sizeof(Access));
    unsigned calls = w->fault->calls;

    aia_watched_disarm(w);
    g_assert_cmpuint(calls, <, FAULT_LOG);
    for (unsigned i = 0; i < calls; i++) {
        Access a = {
            w->fault->call[i].request, w->fault->call[i].subject, 1
        };

        for (unsigned j = 0; j < i; j++) {
            a.nth += w->fault->call[j].request == a.request &&
                     w->fault->call[j].subject == a.subject;
        }
        if ((list->len || is_attr(&a) ||
             a.request == KVM_SET_USER_MEMORY_REGION) && may_fail(&a) &&
            !is_read_by_qemu(&a)) {
            g_array_append_val(list, a);
        }
    }
    return list;
}

GArray *sample_accesses(const GArray *all, unsigned num)
{
    GArray *list = g_array_new(false, false, sizeof(Access));

    for (unsigned i = 0; i < all->len; i++) {
        const Access *a = &g_array_index(all, Access, i);
        unsigned before = 0, after = 0;

        for (unsigned j = 0; j < all->len; j++) {
            if (same_group(a, &g_array_index(all, Access, j))) {
                before += j < i;
                after += j > i;
            }
        }
        if (!before || (num > 1 && (!after ||
                        before * (num - 1) / (before + after) >
                        (before - 1) * (num - 1) / (before + after)))) {
            g_array_append_val(list, *a);
        }
    }
    return list;
}

void arm_access(AIAWatched *w, const Access *a, int error)
{
    w->fault->guest_only = true;
    aia_watched_arm(w, a->request, UINT64_MAX, a->subject, a->nth, 1, error);
}

bool succeeds(const Access *a, int error)
{
    return error == EINTR && (is_attr(a) || a->request == KVM_RUN);
}

/* What has failed must be told: which access, of which hart, how. */
static void check_told(const char *words, const Access *a, int error)
{
    uint32_t attr = a->subject;
    g_autofree char *what = NULL;

    switch (a->request) {
    case KVM_GET_DEVICE_ATTR:
    case KVM_SET_DEVICE_ATTR:
        if (GROUP(a->subject) == GROUP_APLIC) {
            what = g_strdup_printf("APLIC register 0x%04x", attr);
        } else if (GROUP(a->subject) == GROUP_IMSIC) {
            what = g_strdup_printf("IMSIC register 0x%02x of hart %u",
                                   attr & 0xfff, attr >> 12);
        }
        break;
    case KVM_GET_ONE_REG:
        what = g_strdup_printf("KVM register 0x%016" PRIx64, a->subject);
        break;
    case KVM_GET_MP_STATE:
    case KVM_SET_MP_STATE:
        what = g_strdup("MP state of hart");
        break;
    case KVM_IRQ_LINE:
        what = g_strdup("APLIC source");
        break;
    case KVM_SET_USER_MEMORY_REGION:
        what = g_strdup("memory slot");
        break;
    case KVM_RUN:
        /* Its number is told. */
        g_assert_nonnull(strstr(words, "KVM_RUN: -"));
        return;
    }
    if ((what && !strstr(words, what)) || !strstr(words, g_strerror(error))) {
        g_test_message("%s is not told: %s", what, words);
        g_test_fail();
    }
}

void tell_access(const Access *a, int error)
{
    g_test_message("ioctl 0x%" PRIx64 ", %u., subject 0x%" PRIx64 ": %s",
                   a->request, a->nth, a->subject, g_strerror(error));
}

bool migrated(QTestState *qts)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    bool completed = false, failed = false;

    while (!completed && !failed) {
        QDict *info = migrate_query(qts);
        const char *status = qdict_get_str(info, "status");

        completed = g_str_equal(status, "completed");
        failed = g_str_equal(status, "failed") ||
                 g_str_equal(status, "cancelled");
        if (g_str_equal(status, "failed")) {
            g_assert_cmpstr(qdict_get_str(info, "error-desc"), !=, "");
        }
        qobject_unref(info);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    return completed;
}

/* After a migration that failed the guest goes on by itself. */
static void wait_until_running(AIAWatched *w)
{
    int64_t end = g_get_monotonic_time() + AIA_WAIT_S * G_USEC_PER_SEC;
    bool running = false, stopped = false;

    while (!running) {
        QDict *info = qtest_qmp_assert_success_ref(
            w->qts, "{'execute': 'query-status'}");

        running = qdict_get_bool(info, "running");
        stopped = g_str_equal(qdict_get_str(info, "status"), "internal-error");
        qobject_unref(info);
        if (stopped || g_get_monotonic_time() > end) {
            g_autofree char *words = aia_watched_words(w);

            g_test_message("it does not run: %s", words);
            g_assert_not_reached();
        }
        g_usleep(1000);
    }
}

void go_on(AIAWatched *w)
{
    wait_until_running(w);
    aia_tick_wait(w->qts, &fault_tick, 1);
}

bool save_devices(AIAWatched *w, const char *file)
{
    QDict *rsp = qtest_qmp(w->qts, "{'execute': 'xen-save-devices-state', "
                           "'arguments': {'filename': %s, 'live': false}}",
                           file);
    QDict *error = qdict_get_qdict(rsp, "error");

    if (error) {
        aia_watched_note(w, qdict_get_str(error, "desc"));
    }
    qobject_unref(rsp);
    return !error;
}

/*
 * @ok is whether save or load succeeded.  Whether a hart is stopped, a save
 * asks for to spare it an entry into the guest, and can do without knowing.
 */
void check_failure(AIAWatched *w, const Access *a, int error, bool ok)
{
    g_autofree char *words = aia_watched_words(w);

    aia_watched_disarm(w);
    g_test_message("ioctl 0x%08" PRIx32 ", subject 0x%" PRIx64 ": %s; %s: %s",
                   (uint32_t)a->request, a->subject, strerror(error),
                   ok ? "succeeds" : "fails", words);
    if (!w->fault->failed && (a->nth > 1 || a->subject == REG_MODE)) {
        /*
         * When they were noted a busy host had an entry made again, or hart 1
         * was in user mode, and not now.
         */
        g_assert_true(ok);
        return;
    }
    g_assert_cmpuint(w->fault->failed, ==, 1);
    if (a->request != KVM_GET_MP_STATE) {
        g_assert_true(ok == succeeds(a, error));
    }
    if (!ok) {
        check_told(words, a, error);
    }
}

void start_source(AIAWatched *w)
{
    aia_watched_prepare(w);
    aia_watched_start(w, &fault_tick, fault_tick.from, "");
    aia_tick_wait(w->qts, &fault_tick, 1);
}
