/*
 * Migration of vCPUs whose threads are held, or change CPUs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ptrace.h>
#include <sys/sysinfo.h>
#include "qemu/bitops.h"
#include "qemu/cutils.h"
#include "qobject/qdict.h"
#include "threads.h"
#include "vcpu.h"
#include "watched.h"

/* Out of KVM_RUN, while the other vCPUs run on. */
static void hold_thread(pid_t tid)
{
    int status;

    g_assert_cmpint(ptrace(PTRACE_SEIZE, tid, NULL, NULL), ==, 0);
    g_assert_cmpint(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL), ==, 0);
    g_assert_cmpint(waitpid(tid, &status, __WALL), ==, tid);
    g_assert_true(WIFSTOPPED(status));
}

/* Whether QEMU has told the thread to leave KVM_RUN, by SIG_IPI. */
static bool is_kicked(QTestState *qts, pid_t tid)
{
    g_autofree char *file = g_strdup_printf("/proc/%d/task/%d/status",
                                            qtest_pid(qts), tid);
    g_autofree char *text = NULL;
    const char *at;
    uint64_t pending;

    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    at = strstr(text, "SigPnd:");
    g_assert_nonnull(at);
    g_assert_cmpint(qemu_strtou64(at + strlen("SigPnd:"), &at, 16, &pending),
                    ==, 0);
    return pending >> (SIGUSR1 - 1) & 1;
}

/*
 * Stops the machine with a vCPU that does not enter KVM_RUN any more: it is
 * let go when it has been told to stop.  Leaves the STOP event to whoever
 * stops the machine next.
 */
static void stop_with_held_thread(QTestState *qts, pid_t tid)
{
    int64_t end = deadline();
    QDict *rsp;

    qtest_qmp_send(qts, "{'execute': 'stop'}");
    while (!is_kicked(qts, tid)) {
        wait_a_little(end);
    }
    g_assert_cmpint(ptrace(PTRACE_DETACH, tid, NULL, NULL), ==, 0);
    rsp = qtest_qmp_receive(qts);
    g_assert_true(qdict_haskey(rsp, "return"));
    qobject_unref(rsp);
}

/*
 * At one checkpoint holds the vCPU of hart 1, which the guest then starts; at
 * the next moves the guest before that hart has run.
 */
QTestState *move_starting(QTestState *from, const AIACase *c)
{
    static pid_t held;
    int thread[AIA_MAX_HARTS];
    pid_t tid = held;

    if (!tid) {
        aia_hart_threads(from, c, thread);
        held = thread[1];
        hold_thread(held);
        return from;
    }
    held = 0;
    stop_with_held_thread(from, tid);
    return run_inner(from, c);
}

/* vcpu_regs, with a hart 1 that may run on any CPU, but begins on the last */
static void unpin_hart(QTestState *qts, const AIACase *c)
{
    int thread[AIA_MAX_HARTS];

    aia_hart_threads(qts, c, thread);
    aia_bind_thread(thread[1], 1ULL << (get_nprocs() - 1));
    aia_bind_thread(thread[1], MAKE_64BIT_MASK(0, get_nprocs()));
}

static void move_harts(const void *opaque, bool confined)
{
    AIACase c = *(const AIACase *)opaque;
    AIAWatched w;

    if (get_nprocs() < 2) {
        g_test_skip("this host has but one CPU");
        return;
    }
    c.prepare = unpin_hart;
    aia_watched_prepare(&w);
    w.fault->moves = true;
    w.fault->confines = confined;
    aia_watched_preload(&w, true);
    test_regs(&c);
    aia_watched_preload(&w, false);
    g_test_message("%u times", w.fault->moved);
    g_assert_cmpuint(w.fault->moved, >, 0);
    aia_watched_forget(&w);
}

void test_moved(const void *opaque)
{
    move_harts(opaque, false);
}

/* QEMU may not choose CPUs, as under libvirt. */
void test_moved_confined(const void *opaque)
{
    move_harts(opaque, true);
}
