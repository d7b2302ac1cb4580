/*
 * A kernel that lacks what a migration needs, and memory that is lost by one
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "migration/migration-qmp.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "faults.h"

#define REG_MODE   0x8030000002000020ULL
#define REG_ZICBOM 0x803000000700000bULL

/*
 * A kernel that lacks the attributes, or does not tell all of a vCPU
 */

/**
 * Blocker - a call that fails when QEMU starts, for which migration is blocked
 * @options: further ones of QEMU
 * @nth, @times: as of FaultControl
 * @words: of the reason
 */
typedef struct Blocker {
    const char *options;
    uint64_t request;
    uint64_t mask;
    uint64_t match;
    uint32_t nth;
    uint32_t times;
    int error;
    const char *words;
} Blocker;

static void check_blocked(const Blocker *b)
{
    g_autofree char *info = NULL, *savevm = NULL;
    g_autoptr(GString) json = NULL;
    AIAWatched w;
    QDict *rsp;
    QList *reasons;
    AIAFiles f;

    g_test_message("%s: %s", b->words, g_strerror(b->error));
    aia_files_init(&f);
    aia_watched_prepare(&w);
    aia_watched_arm(&w, b->request, b->mask, b->match, b->nth, b->times,
                    b->error);
    aia_watched_start(&w, &fault_tick, fault_tick.from, b->options ?: "");
    g_assert_cmpuint(w.fault->failed, >, 0);

    rsp = migrate_query(w.qts);
    reasons = qdict_get_qlist(rsp, "blocked-reasons");
    g_assert_nonnull(reasons);
    json = qobject_to_json(QOBJECT(reasons));
    g_assert_nonnull(strstr(json->str, b->words));
    qobject_unref(rsp);
    info = qtest_hmp(w.qts, "info migrate");
    g_assert_nonnull(strstr(info, b->words));

    migrate_qmp_fail(w.qts, f.uri_a, NULL, "{}");
    savevm = qtest_hmp(w.qts, "savevm snap");
    g_assert_nonnull(strstr(savevm, b->words));
    aia_tick_wait(w.qts, &fault_tick, 2);
    aia_watched_quit(&w);
    aia_files_free(&f);
}

void test_blockers(void)
{
    static const int answers[] = { ENODEV, EINVAL, EOPNOTSUPP };

    static const Blocker vcpus[] = {
        {
            /* QEMU itself asks twice before, for each hart. */
            .request = KVM_GET_REG_LIST, .nth = 3, .times = 1,
            .error = EINVAL, .words = "does not list the registers",
        }, {
            .request = KVM_GET_ONE_REG, .mask = UINT64_MAX, .match = REG_MODE,
            .nth = 1, .times = 1, .error = EIO, .words = "cannot be read",
        }, {
            /* The first hart keeps what the others lose. */
            .options = "-cpu host,zicbom=off", .request = KVM_SET_ONE_REG,
            .mask = UINT64_MAX, .match = REG_ZICBOM, .nth = 1, .times = 1,
            .error = EINVAL, .words = "The harts of the guest differ",
        },
    };

    for (int i = 0; i < ARRAY_SIZE(answers); i++) {
        Blocker attr = {
            .request = KVM_HAS_DEVICE_ATTR, .mask = UINT64_MAX << 32,
            .nth = 1, .times = FAULT_LOG, .error = answers[i],
        };

        if (g_test_slow() || i != 1) {
            attr.match = (uint64_t)GROUP_APLIC << 32;
            attr.words = "APLIC";
            check_blocked(&attr);
        }
        if (g_test_slow() || i == 1) {
            attr.match = (uint64_t)GROUP_IMSIC << 32;
            attr.words = "IMSIC";
            check_blocked(&attr);
        }
    }
    for (int i = 0; i < ARRAY_SIZE(vcpus); i++) {
        check_blocked(&vcpus[i]);
    }
}

/*
 * Memory
 */

/* Bytes that malloc() has given out at the first access of a save */
static uint64_t heap(AIAWatched *w, const AIAFiles *f)
{
    aia_watched_arm(w, KVM_GET_DEVICE_ATTR, 0, 0, 1, 1, 0);
    g_assert_true(save_devices(w, f->a));
    g_assert_cmpuint(w->fault->failed, ==, 1);
    return w->fault->heap;
}

/*
 * What @rounds of them may leave behind, if each leaves @each of its own: some
 * buffer grows once in a while.  Our lists of registers have some hundred
 * bytes for each hart.
 */
static void check_heap(const char *what, const uint64_t *heap, unsigned rounds,
                       unsigned each)
{
    uint64_t first = heap[rounds / 4], last = heap[rounds - 1];

    g_test_message("%s: %" PRIu64 ", then %" PRIu64 " bytes", what, first,
                   last);
    g_assert_cmpuint(last, <, first + 16000 + (rounds - rounds / 4) * each);
}

/*
 * savevm leaks as much as 33 KB each time, none of it ours, and loadvm some
 * 350 bytes (docs/qemu-facts.md); so one is saved and loaded often, and saves
 * are done by other means.
 */
void test_memory(void)
{
    unsigned rounds = g_test_slow() ? 200 : 12;
    g_autofree uint64_t *bytes = g_new(uint64_t, rounds);
    g_autofree char *saved = NULL;
    AIAWatched w;
    AIAFiles f;

    aia_files_init(&f);
    start_source(&w);
    aia_stop(w.qts);
    for (unsigned i = 0; i < rounds; i++) {
        bytes[i] = heap(&w, &f);
    }
    check_heap("saves", bytes, rounds, 0);

    aia_disk_add(w.qts, f.disk);
    saved = qtest_hmp(w.qts, "savevm snap");
    g_assert_cmpstr(saved, ==, "");
    for (unsigned i = 0; i < rounds; i++) {
        g_autofree char *said = qtest_hmp(w.qts, "loadvm snap");

        g_assert_cmpstr(said, ==, "");
        bytes[i] = heap(&w, &f);
        /* pflash would crash with the second load else. */
        qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
        qtest_qmp_assert_success(w.qts, "{'execute': 'stop'}");
    }
    check_heap("loads", bytes, rounds, 400);
    aia_disk_remove(w.qts);
    qtest_qmp_assert_success(w.qts, "{'execute': 'cont'}");
    go_on(&w);
    aia_watched_quit(&w);
    aia_files_free(&f);
}
