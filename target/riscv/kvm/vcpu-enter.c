/*
 * Entries into the guest that are QEMU's, not the guest's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Some state of a vCPU follows only from what the guest does: whether a WFI
 * sees a software interrupt, what the SBI answers.  So QEMU enters the guest
 * while the machine stands, on a page of its own, and gives the guest back all
 * that the entry has changed.  Where KVM_RUN alone will do, see vcpu-wait.c.
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/cacheflush.h"
#include "qemu/main-loop.h"
#include "qemu/memalign.h"
#include "qemu/units.h"
#include "system/hw_accel.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "cpu.h"
#include "trace/trace-target_riscv_kvm.h"
#include "compat.h"
#include "faults/stale-csrs.h"
#include "no-file.h"
#include "vcpu.h"
#include "vcpu-enter.h"
#include "vcpu-reg.h"
#include "vcpu-state.h"
#include "vcpu-wait.h"

/*
 * What the one entry into the guest needs, and therefore changes.  Our list of
 * registers is reset for it: then the mode is right, and the kernel does not
 * write steal time to where the guest may have something else by now.
 */
static const uint64_t enter_reg[] = {
    CORE_REG(regs.pc), CORE_REG(regs.a0), CSR_REG(sstatus), CSR_REG(satp),
    /* What calls of the SBI take besides */
    CORE_REG(regs.t0), CORE_REG(regs.t1), CORE_REG(regs.a1), CORE_REG(regs.a2),
    CORE_REG(regs.a3), CORE_REG(regs.a6), CORE_REG(regs.a7),
};

static int set_enter_regs(CPUState *cs, const uint64_t *value, Error **errp)
{
    for (int i = 0; i < ARRAY_SIZE(enter_reg); i++) {
        int ret = kvm_riscv_set_reg(cs, enter_reg[i], value[i], errp);

        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

/* What the guest had before an entry */
struct RISCVEnterState {
    uint64_t enter[ARRAY_SIZE(enter_reg)];
    uint32_t mp_state;
    uint64_t list[];
};

static struct RISCVEnterState *get_enter_state(CPUState *cs, Error **errp)
{
    const RISCVRegList *regs = &RISCV_CPU(cs)->kvm_vcpu->regs;
    struct RISCVEnterState *state =
        g_malloc(sizeof(*state) + regs->num * sizeof(state->list[0]));
    int ret = kvm_riscv_get_mp_state(cs, &state->mp_state, errp);

    for (int i = 0; i < ARRAY_SIZE(enter_reg) && !ret; i++) {
        ret = kvm_riscv_get_reg(cs, enter_reg[i], &state->enter[i], errp);
    }
    for (uint32_t i = 0; i < regs->num && !ret; i++) {
        ret = kvm_riscv_get_reg(cs, regs->id[i], &state->list[i], errp);
    }
    if (ret) {
        g_free(state);
        return NULL;
    }
    return state;
}

/* Of the list, what the guest has changed: the rest is as an entry needs it. */
static int set_changed_regs(CPUState *cs, const uint64_t *guest,
                            const uint64_t *value, Error **errp)
{
    const RISCVRegList *regs = &RISCV_CPU(cs)->kvm_vcpu->regs;
    int ret = 0;

    for (uint32_t i = regs->num; i-- > 0 && !ret; ) {
        if (guest[i] != regs->reset[i]) {
            ret = kvm_riscv_set_reg(cs, regs->id[i], value[i], errp);
        }
    }
    return ret;
}

static int set_enter_state(CPUState *cs, const uint64_t *enter,
                           const uint64_t *guest, const uint64_t *value,
                           uint32_t mp_state, Error **errp)
{
    return set_changed_regs(cs, guest, value, errp) ?:
           set_enter_regs(cs, enter, errp) ?:
           kvm_riscv_set_mp_state(cs, mp_state, errp);
}

int kvm_riscv_vcpu_put_entered(CPUState *cs, Error **errp)
{
    RISCVVCPUExtra *extra = &RISCV_CPU(cs)->kvm_vcpu->extra;
    const struct RISCVEnterState *owed = extra->owed;
    int ret;

    if (!owed) {
        return 0;
    }
    ret = set_enter_state(cs, owed->enter, owed->list, owed->list,
                          owed->mp_state, errp);
    if (!ret) {
        g_clear_pointer(&extra->owed, g_free);
    }
    return ret;
}

/* Instructions */
#define SET_SIP_SSIP    0x14416073
#define CLEAR_SIP_SSIP  0x14417073
#define SW_ZERO_A0      0x00052023
#define LOOP            0x0000006f

/*
 * Where they lie for each hart, and behind them calls of the SBI; the one after
 * the last has extension 0 and the address of the store.  Which one is next is
 * in memory: an entry that is repeated makes none twice.
 */
#define ENTER_BYTES     (16 * KiB)
#define NEXT_OFFSET     120
#define CALLS_OFFSET    128

static const uint32_t call_insns[] = {
    0x00000317,         /*    auipc  t1, 0 */
    0x07833283,         /*    ld     t0, NEXT_OFFSET(t1) */
    0x0002b883,         /* 1: ld     a7, 0(t0) */
    0x02088863,         /*    beqz   a7, 2f */
    0x0082b803,         /*    ld     a6, 8(t0) */
    0x0102b503,         /*    ld     a0, 16(t0) */
    0x0182b583,         /*    ld     a1, 24(t0) */
    0x0202b603,         /*    ld     a2, 32(t0) */
    0x0282b683,         /*    ld     a3, 40(t0) */
    0x00000073,         /*    ecall */
    0x02a2b823,         /*    sd     a0, 48(t0) */
    0x02b2bc23,         /*    sd     a1, 56(t0) */
    0x04028293,         /*    addi   t0, t0, 64 */
    0x06533c23,         /*    sd     t0, NEXT_OFFSET(t1) */
    0xfd1ff06f,         /*    j      1b */
    0x0082b503,         /* 2: ld     a0, 8(t0) */
    SW_ZERO_A0,
    LOOP,
};

QEMU_BUILD_BUG_ON(sizeof(call_insns) > NEXT_OFFSET);
QEMU_BUILD_BUG_ON(sizeof(RISCVSBICall) != 64);
QEMU_BUILD_BUG_ON(offsetof(RISCVSBICall, arg) != 16);
QEMU_BUILD_BUG_ON(offsetof(RISCVSBICall, error) != 48);
QEMU_BUILD_BUG_ON(CALLS_OFFSET + (RISCV_SBI_CALLS_MAX + 1) *
                  sizeof(RISCVSBICall) > ENTER_BYTES);

/* CPU time for them, in seconds.  The machine stands while they run. */
#define ENTER_LIMIT_S   10

typedef struct EnterOnce {
    unsigned entries;
    Error **errp;
    int ret;
} EnterOnce;

/* The pages of entries, where the guest has them */
static struct {
    /* For good: a slot that cannot be removed is taken again by the next. */
    void *code;
    uint64_t size;
    uint64_t code_gpa;
    uint64_t store_gpa;
    unsigned users;
    /* Without users, the guest has them all the same. */
    bool left;
    /* One thread has harts enter: the BQL is released while it waits. */
    bool busy;
    QemuCond idle;
} enter_pages;

static uint64_t enter_offset(CPUState *cs)
{
    return cs->cpu_index * ENTER_BYTES;
}

static int run_enter_code(CPUState *cs, Error **errp)
{
    struct itimerspec left = { .it_value.tv_sec = ENTER_LIMIT_S };
    struct kvm_run *run = cs->kvm_run;
    timer_t timer;
    int ret;

    /* Not wall time: a busy host is no reason to give up. */
    if (!kvm_riscv_kick_timer_create(CLOCK_THREAD_CPUTIME_ID, &timer, errp)) {
        return -EIO;
    }
    timer_settime(timer, 0, &left, NULL);
    do {
        /* The kick that brought us here may have asked for it. */
        qatomic_set(&run->immediate_exit, 0);
        ret = kvm_vcpu_ioctl(cs, KVM_RUN, 0);
        timer_gettime(timer, &left);
    } while ((ret == -EINTR || ret == -EAGAIN) &&
             (left.it_value.tv_sec || left.it_value.tv_nsec));
    timer_delete(timer);
    if (ret == 0 && run->exit_reason == KVM_EXIT_FAIL_ENTRY) {
        return -EBUSY;
    }
    if (ret < 0 || run->exit_reason != KVM_EXIT_MMIO ||
        run->mmio.phys_addr != enter_pages.store_gpa) {
        error_setg(errp, "hart %d cannot enter the guest on a page of QEMU's "
                   "(KVM_RUN: %d, exit reason %u)", cs->cpu_index, ret,
                   run->exit_reason);
        return -EIO;
    }

    /* Complete the store, lest it moves the pc that is put back. */
    run->immediate_exit = 1;
    ret = kvm_vcpu_ioctl(cs, KVM_RUN, 0);
    run->immediate_exit = 0;
    /*
     * The kernel takes from here whether there is a store to complete: there
     * still is where a signal came first.
     */
    run->exit_reason = KVM_EXIT_UNKNOWN;
    if (ret != -EINTR) {
        error_setg(errp, "hart %d cannot complete its store (KVM_RUN: %d)",
                   cs->cpu_index, ret);
        return -EIO;
    }
    return 0;
}

/* In hwaccel a hart may have its file on another CPU than its thread is on. */
static int run_where_file_is(CPUState *cs, Error **errp)
{
    RISCVCPUSearch search = { };
    int ret = run_enter_code(cs, errp);

    while (ret == -EBUSY && kvm_riscv_no_file_bind(cs, &search)) {
        ret = run_enter_code(cs, errp);
        kvm_riscv_no_file_unbind(cs, &search);
    }
    return ret;
}

static void do_enter(CPUState *cs, void *opaque)
{
    EnterOnce *enter = opaque;
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    const uint64_t ours[ARRAY_SIZE(enter_reg)] = {
        enter_pages.code_gpa + enter_offset(cs), enter_pages.store_gpa,
    };
    unsigned tries = 0;
    long began;

    enter->ret = -EIO;
    if (vcpu->ran) {
        kvm_riscv_stale_csrs_forget(cs);
    }
    if (kvm_riscv_vcpu_put_owed(cs, enter->errp) < 0) {
        return;
    }
    vcpu->extra.owed = get_enter_state(cs, enter->errp);
    if (!vcpu->extra.owed) {
        return;
    }
    do {
        if (set_enter_state(cs, ours, vcpu->extra.owed->list, vcpu->regs.reset,
                            KVM_MP_STATE_RUNNABLE, enter->errp) < 0) {
            enter->ret = -EIO;
            break;
        }
        began = kvm_riscv_stale_csrs_begin();
        enter->ret = run_where_file_is(cs, enter->errp);
        enter->entries++;
        /* One that has failed is not made again. */
        tries = enter->ret ? UINT_MAX : tries;
    } while (!kvm_riscv_stale_csrs_end(began, tries++));
    if (kvm_riscv_vcpu_put_owed(cs, enter->ret == -EIO
                                ? NULL : enter->errp) < 0) {
        enter->ret = -EIO;
    }
}

static void do_enter_once(CPUState *cs, run_on_cpu_data arg)
{
    do_enter(cs, arg.host_ptr);
}

/* Finds guest physical addresses, of whole pages, at which there is nothing. */
static uint64_t find_hole(uint64_t start, uint64_t size)
{
    uint64_t page = qemu_real_host_page_size();

    for (uint64_t gpa = start; ; gpa += page) {
        MemoryRegionSection section =
            memory_region_find(get_system_memory(), gpa, size);

        if (!section.mr) {
            return gpa;
        }
        memory_region_unref(section.mr);
    }
}

static int set_enter_slot(uint64_t size)
{
    struct kvm_userspace_memory_region slot = {
        /* The last one; kvm-all.c gives out the first. */
        .slot = kvm_check_extension(kvm_state, KVM_CAP_NR_MEMSLOTS) - 1,
        .memory_size = size,
        .guest_phys_addr = enter_pages.code_gpa,
        .userspace_addr = (uintptr_t)enter_pages.code,
    };

    return kvm_vm_ioctl(kvm_state, KVM_SET_USER_MEMORY_REGION, &slot);
}

static int drop_pages(Error **errp)
{
    int ret = set_enter_slot(0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "the KVM memory slot at 0x%" PRIx64
                         " cannot be removed", enter_pages.code_gpa);
        return -EIO;
    }
    enter_pages.left = false;
    return 0;
}

int kvm_riscv_vcpu_begin_entries(Error **errp)
{
    uint64_t page = qemu_real_host_page_size();
    CPUState *cs;
    int ret;

    if (enter_pages.users++) {
        return 0;
    }
    if (!enter_pages.code) {
        CPU_FOREACH(cs) {
            enter_pages.size = MAX(enter_pages.size,
                                   enter_offset(cs) + ENTER_BYTES);
        }
        enter_pages.code = qemu_memalign(page, enter_pages.size);
        qemu_cond_init(&enter_pages.idle);
    }
    if (enter_pages.left && drop_pages(errp) < 0) {
        enter_pages.users--;
        return -EIO;
    }
    enter_pages.code_gpa = find_hole(0, enter_pages.size);
    enter_pages.store_gpa = find_hole(enter_pages.code_gpa + enter_pages.size,
                                      page);
    ret = set_enter_slot(enter_pages.size);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "no KVM memory slot for pages at 0x%"
                         PRIx64, enter_pages.code_gpa);
        enter_pages.users--;
        return -EIO;
    }
    /* Kernels that leave CSRs alone (stale-csrs.c) all reset vCPUs whole. */
    if (kvm_riscv_vcpu_is_reset_whole()) {
        kvm_riscv_stale_csrs_prepare();
    }
    return 0;
}

int kvm_riscv_vcpu_end_entries(Error **errp)
{
    return --enter_pages.users ? 0 : drop_pages(errp);
}

void kvm_riscv_vcpu_leave_pages(void)
{
    enter_pages.left = --enter_pages.users == 0;
}

void kvm_riscv_vcpu_drop_pages(void)
{
    Error *err = NULL;

    if (enter_pages.left && drop_pages(&err) < 0) {
        warn_reportf_err(err, "the guest has pages of QEMU's from now on: ");
    }
}

/* A reset of the machine may come while a migration asks, and asks as well. */
static void take_pages(void)
{
    while (enter_pages.busy) {
        qemu_cond_wait_bql(&enter_pages.idle);
    }
    enter_pages.busy = true;
}

static void give_pages(void)
{
    g_assert(enter_pages.busy);
    enter_pages.busy = false;
    qemu_cond_broadcast(&enter_pages.idle);
}

/*
 * What the vCPU is to do: instructions that end with one store.
 * @calls: for call_insns, or NULL
 */
static void put_code(CPUState *cs, const uint32_t *insns, size_t bytes,
                     const RISCVSBICall *calls, unsigned num)
{
    void *code = enter_pages.code + enter_offset(cs);

    memcpy(code, insns, bytes);
    flush_idcache_range((uintptr_t)code, (uintptr_t)code, bytes);
    if (calls) {
        RISCVSBICall *last;

        g_assert(num <= RISCV_SBI_CALLS_MAX);
        stq_le_p(code + NEXT_OFFSET,
                 enter_pages.code_gpa + enter_offset(cs) + CALLS_OFFSET);
        last = mempcpy(code + CALLS_OFFSET, calls, num * sizeof(*calls));
        *last = (RISCVSBICall) { .fid = enter_pages.store_gpa };
    }
}

/* Has the vCPU enter the guest for @insn and one store. */
static int enter_once(CPUState *cs, uint32_t insn, Error **errp)
{
    const uint32_t insns[] = { insn, SW_ZERO_A0, LOOP };
    EnterOnce enter = { .errp = errp };

    if (kvm_riscv_vcpu_begin_entries(errp) < 0) {
        return -EIO;
    }
    take_pages();
    put_code(cs, insns, sizeof(insns), NULL, 0);
    run_on_cpu(cs, do_enter_once, RUN_ON_CPU_HOST_PTR(&enter));
    give_pages();
    if (kvm_riscv_vcpu_end_entries(enter.ret == -EIO ? NULL : errp) < 0) {
        return -EIO;
    }
    trace_kvm_riscv_vcpu_enter_once(cs->cpu_index, enter.entries, enter.ret);
    return enter.ret;
}

typedef struct Work {
    RISCVVCPUWork *func;
    void *opaque;
    unsigned *left;
    QemuCond *done;
} Work;

static void do_work(CPUState *cs, run_on_cpu_data arg)
{
    Work *work = arg.host_ptr;

    bql_unlock();
    work->func(cs, work->opaque);
    bql_lock();
    if (--*work->left == 0) {
        qemu_cond_signal(work->done);
    }
}

void kvm_riscv_vcpu_work(RISCVVCPUWork *func, CPUState **cs, void *opaque,
                         size_t size, unsigned num)
{
    g_autofree Work *work = g_new0(Work, num);
    unsigned left = num;
    int self = -1;
    QemuCond done;

    qemu_cond_init(&done);
    for (unsigned i = 0; i < num; i++) {
        work[i] = (Work) { func, opaque + i * size, &left, &done };
        if (qemu_cpu_is_self(cs[i])) {
            self = i;
        } else {
            async_run_on_cpu(cs[i], do_work, RUN_ON_CPU_HOST_PTR(&work[i]));
        }
    }
    if (self >= 0) {
        do_work(cs[self], RUN_ON_CPU_HOST_PTR(&work[self]));
    }
    while (left) {
        qemu_cond_wait_bql(&done);
    }
    qemu_cond_destroy(&done);
}

/* Nothing of an entry is another hart's. */
static void do_calls(CPUState *cs, void *opaque)
{
    RISCVHartCalls *hart = opaque;
    EnterOnce enter = { .errp = &hart->err };

    /* Not after an entry, from which something may have to be put back yet. */
    if (hart->synchronize) {
        cpu_synchronize_state(cs);
    }
    do_enter(cs, &enter);
    hart->ret = enter.ret;
    trace_kvm_riscv_vcpu_enter_once(cs->cpu_index, enter.entries, enter.ret);
}

static void run_calls(RISCVHartCalls *each, unsigned num)
{
    g_autofree CPUState **cs = g_new(CPUState *, num);

    for (unsigned i = 0; i < num; i++) {
        cs[i] = each[i].cs;
    }
    kvm_riscv_vcpu_work(do_calls, cs, each, sizeof(*each), num);
}

/* All harts have failed, for a reason of its own each that has one already. */
static void fail_all(RISCVHartCalls *each, unsigned num, Error *err)
{
    for (unsigned i = 0; i < num; i++) {
        if (each[i].ret != -EIO) {
            each[i].ret = -EIO;
            each[i].err = error_copy(err);
        }
    }
    error_free(err);
}

void kvm_riscv_vcpu_call_sbi(RISCVHartCalls *each, unsigned num)
{
    Error *err = NULL;

    if (kvm_riscv_vcpu_begin_entries(&err) < 0) {
        fail_all(each, num, err);
        return;
    }
    take_pages();
    for (unsigned i = 0; i < num; i++) {
        put_code(each[i].cs, call_insns, sizeof(call_insns), each[i].calls,
                 each[i].num);
    }
    run_calls(each, num);
    for (unsigned i = 0; i < num; i++) {
        memcpy(each[i].calls,
               enter_pages.code + enter_offset(each[i].cs) + CALLS_OFFSET,
               each[i].num * sizeof(*each[i].calls));
    }
    give_pages();
    if (kvm_riscv_vcpu_end_entries(&err) < 0) {
        fail_all(each, num, err);
    }
}

/*
 * Kernels up to 7.2 at least know twice whether a software interrupt is
 * pending: what the guest reads is set with sip, what a WFI looks at is not.
 * A guest that changes the bit itself changes both.  So where they may differ
 * sip is put wrong, and put right by the guest.
 */
int kvm_riscv_vcpu_put_software_interrupt(CPUState *cs, Error **errp)
{
    bool pending = cpu_env(cs)->mip & MIP_SSIP;
    int ret;

    if (!pending && !RISCV_CPU(cs)->kvm_vcpu->ran) {
        return 0;
    }
    ret = kvm_riscv_set_reg(cs, CSR_REG(sip), pending ? 0 : MIP_SSIP, errp);
    if (ret < 0) {
        return ret;
    }
    ret = enter_once(cs, pending ? SET_SIP_SSIP : CLEAR_SIP_SSIP, errp);
    if (ret == -EBUSY && !pending) {
        /* A WFI will not wait, which it need not. */
        return 0;
    }
    if (ret == -EBUSY) {
        error_setg(errp, "hart %d gets no guest interrupt file on this host, "
                   "and its software interrupt cannot be set without",
                   cs->cpu_index);
    }
    return ret;
}
