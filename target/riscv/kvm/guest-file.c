/*
 * Guest interrupt files for harts that have none, while the machine stands
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Kernels up to 7.2 reach a software interrupt file 32 bits at a time.  In auto
 * and hwaccel mode a hart gets a hardware file by KVM_RUN on a CPU of the host
 * that has one left; it need not enter the guest for that.  Whoever calls
 * KVM_RUN decides on the CPU: so each hart that takes part is lent a thread of
 * its own, and its vCPU's thread stays where the operator has put it.
 *
 * These threads run on CPUs that the operator has given to any vCPU, or to the
 * thread that asks for the file.
 */

#include "qemu/osdep.h"
#include <sched.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qapi/qapi-types-migration.h"
#include "qemu/bitmap.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "migration/options.h"
#include "system/kvm.h"
#include "cpu.h"
#include "hw/core/cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "faults/stale-csrs.h"
#include "guest-file.h"
#include "vcpu-wait.h"

/* What takes so many times what the operator allows is given up. */
#define DOWNTIME_LIMITS 10

#define ANY_CPU (-1)

/**
 * struct Hand - a thread that calls KVM_RUN for one hart
 * @wanted: the CPU of the host to do it on, or ANY_CPU
 * @until: when to give up, of QEMU_CLOCK_REALTIME in us
 * @visit: what to do once there is a file, where access to it is cheapest
 * @quit: there is nothing more to do
 * @bound: whether it could choose that CPU
 * @cpu: the CPU on which it was
 * @ret, @err: as of try_cpu()
 * @has_file: whether the hart has a file
 * @file_cpu: the CPU that this is on, or ANY_CPU if that is not known
 * @asked: it was to give it up already
 */
typedef struct Hand {
    const RISCVAIAAccess *aia;
    CPUState *cs;
    QemuThread thread;
    QemuSemaphore go;
    QemuSemaphore done;
    int wanted;
    int64_t until;
    GuestFileVisit *visit;
    bool quit;
    int cpu;
    int ret;
    Error *err;
    bool has_file;
    int file_cpu;
    bool asked;
} Hand;

/**
 * struct Lending - one search for files
 * @hand: of each hart by its index; NULL for one that has no part in it
 * @may: CPUs of the host where hands may be
 * @full: those of them that have no file left, or where hands cannot be
 * @forbidden: no thread may be bound to a CPU
 */
typedef struct Lending {
    const RISCVAIAAccess *aia;
    Hand **hand;
    unsigned num_harts;
    unsigned long *may;
    unsigned long *full;
    unsigned num_cpus;
    bool forbidden;
    int64_t began;
    int64_t limit_ms;
    unsigned tries;
} Lending;

static bool bind_to(int cpu)
{
    unsigned num_cpus = sysconf(_SC_NPROCESSORS_CONF);
    g_autofree unsigned long *one = bitmap_new(num_cpus);
    QemuThread self;

    set_bit(cpu, one);
    qemu_thread_get_self(&self);
    return qemu_thread_set_affinity(&self, one, num_cpus) == 0;
}

/*
 * A thread that calls KVM_RUN in a vCPU's stead does so once before it is of
 * use: Linux 6.12 lets a new thread wait in KVM_RUN until all CPUs know of it.
 */
static void take_over(CPUState *cs, Error **errp)
{
    sigset_t kick;
    int ret;

    sigemptyset(&kick);
    sigaddset(&kick, SIG_IPI);
    pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
    qatomic_set(&cs->kvm_run->immediate_exit, 1);
    ret = kvm_vcpu_ioctl(cs, KVM_RUN, 0);
    qatomic_set(&cs->kvm_run->immediate_exit, 0);
    if (ret != -EINTR) {
        error_setg(errp, "hart %d cannot be run by another thread (KVM_RUN: "
                   "%d)", cs->cpu_index, ret);
    }
}

static int place_file(Hand *hand)
{
    bool wide;
    int ret;

    if (hand->err) {
        return -EIO;
    }
    if (hand->wanted != ANY_CPU && !bind_to(hand->wanted)) {
        return -EACCES;
    }
    ret = kvm_riscv_vcpu_wait_once(hand->cs, hand->until, &hand->err);
    if (ret < 0) {
        return ret;
    }
    if (!riscv_imsic_is_wide(hand->aia, kvm_arch_vcpu_id(hand->cs), &wide,
                             &hand->err)) {
        return -EIO;
    }
    if (!wide) {
        return -EBUSY;
    }
    return !hand->visit || hand->visit(hand->cs, &hand->err) ? 0 : -EIO;
}

static void *hand_thread(void *opaque)
{
    Hand *hand = opaque;

    take_over(hand->cs, &hand->err);
    for (;;) {
        qemu_sem_wait(&hand->go);
        if (hand->quit) {
            return NULL;
        }
        hand->ret = place_file(hand);
        hand->cpu = sched_getcpu();
        qemu_sem_post(&hand->done);
    }
}

static Hand *get_hand(Lending *l, CPUState *cs, GuestFileVisit *visit)
{
    Hand *hand = l->hand[cs->cpu_index];

    if (!hand) {
        hand = g_new0(Hand, 1);
        hand->aia = l->aia;
        hand->cs = cs;
        hand->visit = visit;
        hand->file_cpu = ANY_CPU;
        qemu_sem_init(&hand->go, 0);
        qemu_sem_init(&hand->done, 0);
        qemu_thread_create(&hand->thread, "vcpu-file", hand_thread, hand,
                           QEMU_THREAD_JOINABLE);
        l->hand[cs->cpu_index] = hand;
    }
    return hand;
}

static void free_hand(Hand *hand)
{
    if (hand) {
        hand->quit = true;
        qemu_sem_post(&hand->go);
        qemu_thread_join(&hand->thread);
        qemu_sem_destroy(&hand->go);
        qemu_sem_destroy(&hand->done);
        error_free(hand->err);
        g_free(hand);
    }
}

/*
 * Has a hart get a file on @cpu.  Returns 0 where it has one then, -EBUSY
 * where it has none, -EACCES where its hand cannot be there, -ETIMEDOUT, or
 * another negative errno with @errp set.
 */
static int try_cpu(Lending *l, Hand *hand, int cpu, Error **errp)
{
    hand->wanted = cpu;
    hand->until = l->began + l->limit_ms * 1000;
    if (qemu_clock_get_us(QEMU_CLOCK_REALTIME) >= hand->until) {
        return -ETIMEDOUT;
    }
    l->tries++;
    qemu_sem_post(&hand->go);
    qemu_sem_wait(&hand->done);
    if (hand->err) {
        error_propagate(errp, g_steal_pointer(&hand->err));
        return hand->ret;
    }
    if (hand->ret != -EACCES) {
        l->forbidden &= cpu == ANY_CPU;
    }
    hand->has_file = hand->ret == 0;
    hand->file_cpu = hand->has_file ? cpu : ANY_CPU;
    trace_kvm_riscv_guest_file_try(hand->cs->cpu_index, hand->cpu, hand->ret);
    return hand->ret;
}

/* Tries those of @cpus that may have a file left. */
static int try_cpus(Lending *l, Hand *hand, const unsigned long *cpus,
                    Error **errp)
{
    for (unsigned cpu = 0; cpu < l->num_cpus; cpu++) {
        int ret;

        if (!test_bit(cpu, cpus) || test_bit(cpu, l->full)) {
            continue;
        }
        ret = try_cpu(l, hand, cpu, errp);
        if (ret != -EBUSY && ret != -EACCES) {
            return ret;
        }
        set_bit(cpu, l->full);
    }
    return -EBUSY;
}

/* The CPUs that a thread may run on, added to @cpus. */
static void add_cpus(Lending *l, QemuThread *thread, unsigned long *cpus)
{
    g_autofree unsigned long *own = NULL;
    unsigned long num;

    if (qemu_thread_get_affinity(thread, &own, &num) == 0) {
        bitmap_or(cpus, cpus, own, MIN(num, l->num_cpus));
    }
}

/* Tries the CPUs of the hart's own thread first, where it will run. */
static int find_file(Lending *l, Hand *hand, Error **errp)
{
    g_autofree unsigned long *own = bitmap_new(l->num_cpus);
    int ret;

    add_cpus(l, hand->cs->thread, own);
    ret = try_cpus(l, hand, own, errp);
    if (ret == -EBUSY) {
        ret = try_cpus(l, hand, l->may, errp);
    }
    if (ret == -EBUSY && l->forbidden) {
        ret = try_cpu(l, hand, ANY_CPU, errp);
    }
    return ret;
}

/*
 * A hart gives up its file by KVM_RUN on a CPU that has none left.  Returns 0
 * where it has, with the CPUs that it may have freed one on no longer full, or
 * -EBUSY or another negative errno.
 */
static int give_up(Lending *l, Hand *donor, Error **errp)
{
    int had = donor->file_cpu;

    for (unsigned cpu = 0; cpu < l->num_cpus; cpu++) {
        int ret;

        if (!test_bit(cpu, l->may) || cpu == had) {
            continue;
        }
        ret = try_cpu(l, donor, cpu, errp);
        if (ret == -EBUSY) {
            if (had == ANY_CPU) {
                bitmap_zero(l->full, l->num_cpus);
                set_bit(cpu, l->full);
            } else {
                clear_bit(had, l->full);
            }
            return 0;
        }
        if (ret == 0) {
            had = cpu;
        } else if (ret != -EACCES) {
            return ret;
        }
    }
    return -EBUSY;
}

/*
 * A hart that has a file and was not asked for it: best one of which is known
 * where that is.  Returns NULL, perhaps with @errp set, where there is none.
 */
static Hand *find_donor(Lending *l, Error **errp)
{
    Hand *donor = NULL;
    CPUState *cs;
    bool wide;

    for (unsigned i = 0; i < l->num_harts; i++) {
        Hand *hand = l->hand[i];

        if (hand && hand->has_file && !hand->asked &&
            (!donor || hand->file_cpu != ANY_CPU)) {
            donor = hand;
        }
    }
    if (donor) {
        return donor;
    }
    CPU_FOREACH(cs) {
        if (!l->hand[cs->cpu_index]) {
            if (!riscv_imsic_is_wide(l->aia, kvm_arch_vcpu_id(cs), &wide,
                                     errp)) {
                return NULL;
            }
            if (wide) {
                donor = get_hand(l, cs, NULL);
                donor->has_file = true;
                return donor;
            }
        }
    }
    return NULL;
}

static int get_file(Lending *l, Hand *hand, bool others, Error **errp)
{
    ERRP_GUARD();
    int ret = find_file(l, hand, errp);

    while (ret == -EBUSY && others && !l->forbidden) {
        Hand *donor = find_donor(l, errp);

        if (!donor) {
            return *errp ? -EIO : -EBUSY;
        }
        donor->asked = true;
        ret = give_up(l, donor, errp);
        if (ret == 0) {
            ret = find_file(l, hand, errp);
        }
        if (ret == 0) {
            /* It was the only one there. */
            set_bit(hand->file_cpu, l->full);
        }
    }
    /* It has been visited, and can do without from now on. */
    hand->visit = NULL;
    return ret;
}

static void set_error(const Lending *l, GPtrArray *without, int ret,
                      Error **errp)
{
    g_autoptr(GString) s = g_string_new(without->len > 1 ? "harts" : "hart");
    const char *separator = " ";

    for (unsigned i = 0; i < without->len; i++) {
        CPUState *cs = g_ptr_array_index(without, i);

        g_string_append_printf(s, "%s %d", i ? "," : "", cs->cpu_index);
    }
    g_string_append_printf(s, " get%s no IMSIC guest interrupt file",
                           without->len > 1 ? "" : "s");
    if (ret == -ETIMEDOUT) {
        g_string_append_printf(s, " within %" PRId64 " ms, which is %d times "
                               "downtime-limit", l->limit_ms, DOWNTIME_LIMITS);
    } else if (l->forbidden) {
        g_string_append(s, " on the CPU of the host where QEMU happens to be, "
                        "and it may not choose another");
    } else {
        g_string_append(s, ": all are in use on CPU");
        for (unsigned cpu = 0; cpu < l->num_cpus; cpu++) {
            if (test_bit(cpu, l->may)) {
                g_string_append_printf(s, "%s%u", separator, cpu);
                separator = ", ";
            }
        }
        g_string_append(s, " of the host, where QEMU may run");
    }
    error_setg(errp, "%s", s->str);
    error_append_hint(errp, "%s, or stop another guest for a moment.\n",
                      ret == -ETIMEDOUT ? "Raise downtime-limit"
                      : "Let the vCPUs run on more CPUs");
}

static void lending_init(Lending *l, const RISCVAIAAccess *aia)
{
    QemuThread self;
    CPUState *cs;

    *l = (Lending) {
        .aia = aia,
        .num_cpus = sysconf(_SC_NPROCESSORS_CONF),
        .forbidden = true,
        .began = qemu_clock_get_us(QEMU_CLOCK_REALTIME),
        .limit_ms = DOWNTIME_LIMITS * migrate_downtime_limit(),
    };
    l->may = bitmap_new(l->num_cpus);
    l->full = bitmap_new(l->num_cpus);
    qemu_thread_get_self(&self);
    add_cpus(l, &self, l->may);
    CPU_FOREACH(cs) {
        l->num_harts = MAX(l->num_harts, cs->cpu_index + 1);
        add_cpus(l, cs->thread, l->may);
    }
    l->hand = g_new0(Hand *, l->num_harts);
}

static void lending_free(Lending *l)
{
    for (unsigned i = 0; i < l->num_harts; i++) {
        free_hand(l->hand[i]);
    }
    g_free(l->hand);
    g_free(l->may);
    g_free(l->full);
    kvm_riscv_stale_csrs_entered();
}

int kvm_riscv_guest_file_lend(const RISCVAIAAccess *aia, GPtrArray *harts,
                              bool others, GuestFileVisit *visit,
                              Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GPtrArray) without = g_ptr_array_new();
    Lending l;
    int ret = 0;

    if (!harts->len) {
        return 0;
    }
    lending_init(&l, aia);
    /* Linux 6.12 has each take its time to begin, which they can at once. */
    for (unsigned i = 0; i < harts->len; i++) {
        get_hand(&l, g_ptr_array_index(harts, i), visit);
    }
    if (others && !find_donor(&l, errp) && *errp) {
        ret = -EIO;
    }
    for (unsigned i = 0; i < harts->len && ret != -EIO; i++) {
        CPUState *cs = g_ptr_array_index(harts, i);
        int got = ret == -ETIMEDOUT
                  ? ret : get_file(&l, l.hand[cs->cpu_index], others, errp);

        if (got == -EBUSY || got == -ETIMEDOUT) {
            g_ptr_array_add(without, cs);
            ret = got;
        } else if (got < 0) {
            ret = got;
            without->len = 0;
            break;
        }
    }
    if (without->len) {
        set_error(&l, without, ret, errp);
    }
    trace_kvm_riscv_guest_file_lend(
        harts->len, l.tries, qemu_clock_get_us(QEMU_CLOCK_REALTIME) - l.began,
        ret);
    lending_free(&l);
    return ret == -ETIMEDOUT ? -EBUSY : ret;
}
