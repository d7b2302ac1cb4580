/*
 * Migration of vCPUs whose threads are held, or change CPUs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include "qemu/bitops.h"
#include "qemu/cutils.h"
#include "qobject/qdict.h"
#include "threads.h"
#include "vcpu.h"
#include "watched.h"

static char *read_thread_file(QTestState *qts, pid_t tid, const char *name)
{
    g_autofree char *file = g_strdup_printf("/proc/%d/task/%d/%s",
                                            qtest_pid(qts), tid, name);
    char *text;

    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    return text;
}

/* Whether QEMU has told the thread to leave KVM_RUN, by SIG_IPI. */
static bool is_kicked(QTestState *qts, pid_t tid)
{
    g_autofree char *text = read_thread_file(qts, tid, "status");
    const char *at = strstr(text, "SigPnd:");
    uint64_t pending;

    g_assert_nonnull(at);
    g_assert_cmpint(qemu_strtou64(at + strlen("SigPnd:"), &at, 16, &pending),
                    ==, 0);
    return pending >> (SIGUSR1 - 1) & 1;
}

/* Whether the thread sleeps in KVM_RUN: the call's number, the file, KVM_RUN */
static bool sleeps_in_run(QTestState *qts, pid_t tid)
{
    g_autofree char *text = read_thread_file(qts, tid, "syscall");
    g_auto(GStrv) word = g_strsplit(text, " ", 4);

    return g_strv_length(word) == 4 &&
           g_ascii_strtoull(word[0], NULL, 0) == SYS_ioctl &&
           g_ascii_strtoull(word[2], NULL, 0) == KVM_RUN;
}

/*
 * Takes a vCPU out of KVM_RUN, while the others run on.  QEMU sends no signal
 * to a thread that has yet to answer an earlier one, so the vCPU has to be
 * taken where it has answered them all.
 */
static void hold_thread(QTestState *qts, pid_t tid)
{
    int64_t end = deadline();
    int status;

    while (true) {
        while (!sleeps_in_run(qts, tid)) {
            wait_a_little(end);
        }
        g_assert_cmpint(ptrace(PTRACE_SEIZE, tid, NULL, NULL), ==, 0);
        g_assert_cmpint(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL), ==, 0);
        g_assert_cmpint(waitpid(tid, &status, __WALL), ==, tid);
        g_assert_true(WIFSTOPPED(status));
        if (!is_kicked(qts, tid)) {
            return;
        }
        g_assert_cmpint(ptrace(PTRACE_DETACH, tid, NULL, NULL), ==, 0);
        wait_a_little(end);
    }
}

/*
 * Stops or resets the machine with a vCPU that does not enter KVM_RUN any more:
 * it is let go when it has been told to stop.  Leaves the event to the caller,
 * who stops the machine next, or waits for the reset.
 */
static void execute_with_held_thread(QTestState *qts, const char *command,
                                     pid_t tid)
{
    int64_t end = deadline();
    QDict *rsp;

    qtest_qmp_send(qts, "{'execute': %s}", command);
    while (!is_kicked(qts, tid)) {
        wait_a_little(end);
    }
    g_assert_cmpint(ptrace(PTRACE_DETACH, tid, NULL, NULL), ==, 0);
    rsp = qtest_qmp_receive(qts);
    g_assert_true(qdict_haskey(rsp, "return"));
    qobject_unref(rsp);
}

/*
 * At one checkpoint holds the vCPU of hart 1, which the guest then starts, and
 * returns 0; at the next, before that hart has run, returns its thread.
 */
static pid_t hold_starting(QTestState *qts, const AIACase *c)
{
    static pid_t held;
    int thread[AIA_MAX_HARTS];
    pid_t tid = held;

    if (tid) {
        held = 0;
        return tid;
    }
    aia_hart_threads(qts, c, thread);
    held = thread[1];
    hold_thread(qts, held);
    return 0;
}

QTestState *move_starting(QTestState *from, const AIACase *c)
{
    pid_t tid = hold_starting(from, c);

    if (!tid) {
        return from;
    }
    execute_with_held_thread(from, "stop", tid);
    return run_inner(from, c);
}

/* In place of a move; the guest is not needed after it. */
static QTestState *reset_starting(QTestState *qts, const AIACase *c)
{
    pid_t tid = hold_starting(qts, c);

    if (!tid) {
        return qts;
    }
    /* The reset comes, or there is nobody left to say why not. */
    g_test_message("waiting for the reset");
    alarm(AIA_WAIT_S);
    execute_with_held_thread(qts, "system_reset", tid);
    qtest_qmp_eventwait(qts, "RESET");
    aia_stop(qts);
    alarm(0);
    qtest_quit(qts);
    return NULL;
}

const AIAMove aia_move_reset_starting = { "reset", reset_starting };

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

    if (!aia_needs_two_cpus()) {
        return;
    }
    c.prepare = unpin_hart;
    aia_watched_prepare(&w);
    w.fault->moves = true;
    w.fault->confines = confined;
    aia_watched_preload(&w, true);
    /* A hart with the CSRs of before can keep QEMU waiting for it. */
    alarm(2 * AIA_WAIT_S);
    test_regs(&c);
    alarm(0);
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
