/*
 * State of a vCPU that the kernel lists and QEMU does not carry elsewhere
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * KVM_GET_REG_LIST names all registers of a vCPU.  Those that only configure
 * it must be the same on both sides already; those that kvm-cpu.c marshals
 * are in CPURISCVState.  All others, also those of a kernel newer than this
 * file, go into one list of (id, value).
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <linux/kvm.h>

#include "qapi/error.h"
#include "qemu/cacheflush.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/memalign.h"
#include "migration/blocker.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/runstate.h"
#include "cpu.h"
#include "sbi_ecall_interface.h"
#include "trace/trace-target_riscv_kvm.h"
#include "aia.h"
#include "compat.h"
#include "faults/stale-csrs.h"
#include "system-event.h"
#include "vcpu.h"
#include "vcpu-config.h"
#include "vcpu-migratable.h"
#include "vcpu-state.h"

#define CORE_REG(name) (KVM_REG_RISCV | KVM_REG_SIZE_U64 | \
                        KVM_REG_RISCV_CORE | KVM_REG_RISCV_CORE_REG(name))
#define CSR_REG(name)  (KVM_REG_RISCV | KVM_REG_SIZE_U64 | \
                        KVM_REG_RISCV_CSR | KVM_REG_RISCV_CSR_REG(name))

/* cycle, time, instret */
#define SCOUNTEREN_FIRMWARE 7

static int get_reg(CPUState *cs, uint64_t id, uint64_t *value, Error **errp)
{
    int ret;

    /* A 32-bit register fills the lower half. */
    *value = 0;
    ret = kvm_get_one_reg(cs, id, value);
    if (ret < 0) {
        riscv_reg_error(errp, id, cs->cpu_index, "cannot be read: %s",
                        strerror(-ret));
    }
    return ret;
}

static int set_reg(CPUState *cs, uint64_t id, uint64_t value, Error **errp)
{
    int ret = kvm_set_one_reg(cs, id, &value);

    if (ret < 0) {
        riscv_reg_error(errp, id, cs->cpu_index, "cannot be set to 0x%" PRIx64
                        ": %s", value, strerror(-ret));
    }
    return ret;
}

/*
 * Linux 7.2 switches SBI STA off where shmem_hi is set, so that
 * has to come before shmem_lo: the last register is put first.
 */
static int put_regs(CPUState *cs, const uint64_t *value, Error **errp)
{
    const RISCVRegList *regs = &RISCV_CPU(cs)->kvm_vcpu->regs;

    for (uint32_t i = regs->num; i > 0; i--) {
        int ret = set_reg(cs, regs->id[i - 1], value[i - 1], errp);

        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static struct kvm_reg_list *get_reg_list(CPUState *cs, Error **errp)
{
    struct kvm_reg_list probe = { .n = 0 };
    struct kvm_reg_list *list;
    int ret = kvm_vcpu_ioctl(cs, KVM_GET_REG_LIST, &probe);

    if (ret == -E2BIG) {
        list = g_malloc(sizeof(*list) + probe.n * sizeof(list->reg[0]));
        list->n = probe.n;
        ret = kvm_vcpu_ioctl(cs, KVM_GET_REG_LIST, list);
        if (ret == 0) {
            return list;
        }
        g_free(list);
    }
    error_setg(errp, "This kernel does not list the registers of a vCPU "
               "(KVM_GET_REG_LIST: %s), so that the guest's state is not "
               "known; use Linux 6.6 or newer", strerror(-ret));
    return NULL;
}

static int set_mp_state(CPUState *cs, uint32_t val, Error **errp)
{
    struct kvm_mp_state mp_state = { .mp_state = val };
    int ret = kvm_vcpu_ioctl(cs, KVM_SET_MP_STATE, &mp_state);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "MP state of hart %d cannot be set "
                         "to %u", cs->cpu_index, val);
    }
    return ret;
}

static int get_mp_state(CPUState *cs, uint32_t *val, Error **errp)
{
    struct kvm_mp_state mp_state;
    int ret = kvm_vcpu_ioctl(cs, KVM_GET_MP_STATE, &mp_state);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "MP state of hart %d cannot be read",
                         cs->cpu_index);
        return ret;
    }
    *val = mp_state.mp_state;
    return 0;
}

/*
 * What the one entry into the guest needs, and therefore changes.  Our list of
 * registers is reset for it: then the mode is right, and the kernel does not
 * write steal time to where the guest may have something else by now.
 */
static const uint64_t enter_reg[] = {
    CORE_REG(regs.pc), CORE_REG(regs.a0), CSR_REG(sstatus), CSR_REG(satp),
};

static int set_enter_regs(CPUState *cs, const uint64_t *value, Error **errp)
{
    for (int i = 0; i < ARRAY_SIZE(enter_reg); i++) {
        int ret = set_reg(cs, enter_reg[i], value[i], errp);

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
    int ret = get_mp_state(cs, &state->mp_state, errp);

    for (int i = 0; i < ARRAY_SIZE(enter_reg) && !ret; i++) {
        ret = get_reg(cs, enter_reg[i], &state->enter[i], errp);
    }
    for (uint32_t i = 0; i < regs->num && !ret; i++) {
        ret = get_reg(cs, regs->id[i], &state->list[i], errp);
    }
    if (ret) {
        g_free(state);
        return NULL;
    }
    return state;
}

static int set_enter_state(CPUState *cs, const uint64_t *enter,
                           const uint64_t *list, uint32_t mp_state,
                           Error **errp)
{
    return put_regs(cs, list, errp) ?: set_enter_regs(cs, enter, errp) ?:
           set_mp_state(cs, mp_state, errp);
}

/* The guest must neither run nor be saved before it has back what is its. */
static int put_owed(CPUState *cs, Error **errp)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    const struct RISCVEnterState *owed = vcpu->owed;
    int ret;

    if (!owed) {
        return 0;
    }
    ret = set_enter_state(cs, owed->enter, owed->list, owed->mp_state, errp);
    if (!ret) {
        g_clear_pointer(&vcpu->owed, g_free);
    }
    return ret;
}

/*
 * KVM resets a vCPU whole: all that no register tells, among it both halves of
 * its interrupt file and on which CPU its CSRs may still be.
 */
static bool kernel_resets;

static void enable_kernel_reset(void)
{
    kernel_resets = kvm_vm_enable_cap(kvm_state, KVM_CAP_RISCV_MP_STATE_RESET,
                                      0) == 0;
}

bool kvm_riscv_vcpu_is_reset_whole(void)
{
    return kernel_resets;
}

/*
 * Kernels that leave CSRs alone (stale-csrs.c) all reset vCPUs, after which
 * they do not.  But an entry of ours must not find what the guest had, nor the
 * guest what such an entry had.
 */
static bool entered;

static void forget_csrs_before_entry(CPUState *cs)
{
    if (kernel_resets) {
        kvm_riscv_stale_csrs_forget(cs);
        entered = true;
    }
}

static void do_forget_csrs(CPUState *cs, run_on_cpu_data arg)
{
    kvm_riscv_stale_csrs_forget(cs);
}

/* For all harts, the first one first. */
static void forget_csrs_before_run(CPUState *cs)
{
    if (entered) {
        if (cs == first_cpu) {
            kvm_riscv_stale_csrs_entered();
        }
        run_on_cpu(cs, do_forget_csrs, RUN_ON_CPU_NULL);
    }
    if (!CPU_NEXT(cs)) {
        kvm_riscv_stale_csrs_release();
        entered = false;
    }
}

bool kvm_riscv_vcpu_is_stopped(CPUState *cs)
{
    uint32_t mp_state = KVM_MP_STATE_RUNNABLE;

    return get_mp_state(cs, &mp_state, NULL) == 0 &&
           mp_state == KVM_MP_STATE_STOPPED;
}

/*
 * hart_start leaves to the vCPU of the hart that it starts to take over the
 * start address, which no register shows before.  The vCPU does so in
 * KVM_RUN, unless it has left it already to stop with the machine.
 *
 * Whether that may be so: the hart has stopped itself last, or never run.
 */
static bool may_be_starting(CPUState *cs)
{
    uint64_t ra, sp, a6, a7;

    if (kvm_riscv_vcpu_is_stopped(cs) ||
        get_reg(cs, CORE_REG(regs.ra), &ra, NULL) < 0 ||
        get_reg(cs, CORE_REG(regs.sp), &sp, NULL) < 0 ||
        get_reg(cs, CORE_REG(regs.a6), &a6, NULL) < 0 ||
        get_reg(cs, CORE_REG(regs.a7), &a7, NULL) < 0) {
        return false;
    }
    return (ra == 0 && sp == 0) ||
           (a6 == SBI_EXT_HSM_HART_STOP && a7 == SBI_EXT_HSM);
}

/* A timer that kicks the thread of a vCPU out of KVM_RUN */
static bool kick_timer_create(clockid_t clock, timer_t *timer, Error **errp)
{
    struct sigevent kick = {
        .sigev_notify = SIGEV_THREAD_ID,
        .sigev_signo = SIG_IPI,
        ._sigev_un._tid = qemu_get_thread_id(),
    };

    if (timer_create(clock, &kick, timer)) {
        error_setg_errno(errp, errno, "no timer");
        return false;
    }
    return true;
}

/*
 * In KVM_RUN the kernel first has a stopped hart wait, then serves requests
 * such as this one, and then sees whether there is a signal, before it enters
 * the guest.  So the vCPU is made to wait, until a signal comes.  It comes too
 * early where the vCPU has not slept.
 */
static void do_finish_start(CPUState *cs, run_on_cpu_data arg)
{
    Error **errp = arg.host_ptr;
    struct itimerspec delay = { .it_value.tv_nsec = SCALE_MS };
    struct rusage before, after;
    timer_t timer;
    int ret;

    if (!kick_timer_create(CLOCK_MONOTONIC, &timer, errp)) {
        return;
    }
    if (set_mp_state(cs, KVM_MP_STATE_STOPPED, errp) == 0) {
        do {
            qatomic_set(&cs->kvm_run->immediate_exit, 0);
            timer_settime(timer, 0, &delay, NULL);
            getrusage(RUSAGE_THREAD, &before);
            ret = kvm_vcpu_ioctl(cs, KVM_RUN, 0);
            getrusage(RUSAGE_THREAD, &after);
            delay.it_value.tv_nsec = MIN(delay.it_value.tv_nsec * 2,
                                         SCALE_MS * 512);
        } while (ret == -EINTR && after.ru_nvcsw == before.ru_nvcsw);
        if (ret != -EINTR && cs->kvm_run->exit_reason != KVM_EXIT_FAIL_ENTRY) {
            error_setg(errp, "KVM_RUN: %d, exit reason %u", ret,
                       cs->kvm_run->exit_reason);
        }
        set_mp_state(cs, KVM_MP_STATE_RUNNABLE, *errp ? NULL : errp);
    }
    timer_delete(timer);
    kvm_riscv_stale_csrs_entered();
    qatomic_set(&cs->kvm_run->immediate_exit, 0);
    /* What was read before is no more. */
    cs->vcpu_dirty = false;
}

/*
 * Runs before the handler of kvm-cpu.c that reads the timer, which a start
 * resets: on a stop the last comes first.
 */
static void vm_state_change(void *opaque, bool running, RunState state)
{
    CPUState *cs = opaque;
    Error *err = NULL;

    if (running) {
        RISCV_CPU(cs)->kvm_vcpu->ran = true;
        forget_csrs_before_run(cs);
        return;
    }
    if (may_be_starting(cs)) {
        run_on_cpu(cs, do_finish_start, RUN_ON_CPU_HOST_PTR(&err));
        trace_kvm_riscv_vcpu_finish_start(cs->cpu_index, !err);
        if (err) {
            error_reportf_err(err, "hart %d may start at a wrong address: ",
                              cs->cpu_index);
        }
    }
}

static int list_regs(CPUState *cs, const struct kvm_reg_list *all,
                     RISCVRegList *regs, Error **errp)
{
    bool has_d = riscv_has_ext(cpu_env(cs), RVD);
    uint32_t n = 0;

    riscv_reg_list_alloc(regs, all->n);
    for (uint64_t i = 0; i < all->n; i++) {
        uint64_t id = all->reg[i];

        if (riscv_reg_is_config(id) || riscv_reg_is_carried(id, has_d)) {
            continue;
        }
        if (RISCV_REG_BYTES(id) > sizeof(uint64_t)) {
            riscv_reg_error(errp, id, cs->cpu_index, "is wider than this QEMU "
                            "can carry; use a newer one");
            return -ENOTSUP;
        }
        regs->id[n++] = id;
    }
    regs->num = n;
    qsort(regs->id, n, sizeof(uint64_t), riscv_reg_id_compare);
    for (uint32_t i = 0; i < n; i++) {
        int ret = get_reg(cs, regs->id[i], &regs->reset[i], errp);

        if (ret < 0) {
            return ret;
        }
        regs->value[i] = regs->reset[i];
    }
    return 0;
}

int kvm_riscv_vcpu_list_regs(CPUState *cs, Error **errp)
{
    RISCVRegList *regs = &RISCV_CPU(cs)->kvm_vcpu->regs;
    g_autofree struct kvm_reg_list *all = get_reg_list(cs, errp);
    int ret;

    riscv_reg_list_free(regs);
    if (!all) {
        return -ENOTSUP;
    }
    ret = list_regs(cs, all, regs, errp) ?:
          kvm_riscv_vcpu_config_init(cs, all, errp);
    if (ret < 0) {
        /* None is carried where one cannot be. */
        riscv_reg_list_free(regs);
        return ret;
    }
    trace_kvm_riscv_vcpu_init(cs->cpu_index, all->n, regs->num);
    return 0;
}

int kvm_riscv_vcpu_init(CPUState *cs)
{
    static Error *blocker;
    Error *err = NULL;
    int ret = kvm_riscv_vcpu_leave_out(cs, &err);

    if (ret < 0) {
        error_report_err(err);
        return ret;
    }
    RISCV_CPU(cs)->kvm_vcpu = g_new0(KVMRISCVVCPU, 1);
    /* A guest that is not to move does not need to be carried. */
    if (kvm_riscv_vcpu_list_regs(cs, &err) < 0) {
        if (blocker) {
            error_free(err);
        } else {
            blocker = err;
            migrate_add_blocker(&blocker, &error_fatal);
        }
    }
    if (!cs->cpu_index) {
        enable_kernel_reset();
        if (kernel_resets && runstate_check(RUN_STATE_INMIGRATE)) {
            kvm_riscv_stale_csrs_prepare();
        }
    }
    qemu_add_vm_change_state_handler(vm_state_change, cs);
    return 0;
}

void kvm_riscv_vcpu_reset(CPUState *cs)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    Error *err = NULL;

    /*
     * As firmware leaves it: not every kernel sets it, and without TM nothing
     * in user mode can tell the time.
     */
    RISCV_CPU(cs)->env.scounteren = SCOUNTEREN_FIRMWARE;

    /* The first reset of a CPU comes before its vCPU. */
    if (!vcpu) {
        return;
    }
    vcpu->system_event = 0;
    memcpy(vcpu->regs.value, vcpu->regs.reset,
           vcpu->regs.num * sizeof(uint64_t));
    kvm_riscv_vcpu_config_reset();
    if (kernel_resets &&
        set_mp_state(cs, KVM_MP_STATE_INIT_RECEIVED, &err) < 0) {
        error_reportf_err(err, "reset: ");
        vm_stop(RUN_STATE_INTERNAL_ERROR);
    }
}

/* Instructions */
#define NOP             0x00000013
#define SET_SIP_SSIP    0x14416073
#define CLEAR_SIP_SSIP  0x14417073
#define SW_ZERO_A0      0x00052023
#define LOOP            0x0000006f

/* CPU time for them, in seconds.  The machine stands while they run. */
#define ENTER_LIMIT_S   10

typedef struct EnterOnce {
    uint64_t code_gpa;
    uint64_t store_gpa;
    Error **errp;
    int ret;
} EnterOnce;

static int run_enter_code(CPUState *cs, const EnterOnce *enter, Error **errp)
{
    struct itimerspec left = { .it_value.tv_sec = ENTER_LIMIT_S };
    struct kvm_run *run = cs->kvm_run;
    timer_t timer;
    int ret;

    /* Not wall time: a busy host is no reason to give up. */
    if (!kick_timer_create(CLOCK_THREAD_CPUTIME_ID, &timer, errp)) {
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
        run->mmio.phys_addr != enter->store_gpa) {
        error_setg(errp, "hart %d cannot enter the guest to get a guest "
                   "interrupt file (KVM_RUN: %d, exit reason %u)",
                   cs->cpu_index, ret, run->exit_reason);
        return -EIO;
    }

    /* Complete the store, lest it moves the pc that is put back. */
    run->immediate_exit = 1;
    ret = kvm_vcpu_ioctl(cs, KVM_RUN, 0);
    run->immediate_exit = 0;
    if (ret != -EINTR) {
        /* The kernel takes from here whether there is a store to complete. */
        run->exit_reason = KVM_EXIT_UNKNOWN;
        error_setg(errp, "hart %d cannot complete its store (KVM_RUN: %d)",
                   cs->cpu_index, ret);
        return -EIO;
    }
    return 0;
}

static void do_enter_once(CPUState *cs, run_on_cpu_data arg)
{
    EnterOnce *enter = arg.host_ptr;
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    const uint64_t ours[] = { enter->code_gpa, enter->store_gpa, 0, 0 };

    QEMU_BUILD_BUG_ON(ARRAY_SIZE(ours) != ARRAY_SIZE(enter_reg));
    /* Only run_enter_code() may answer -EBUSY. */
    enter->ret = -EIO;
    forget_csrs_before_entry(cs);
    if (put_owed(cs, enter->errp) < 0) {
        return;
    }
    vcpu->owed = get_enter_state(cs, enter->errp);
    if (!vcpu->owed) {
        return;
    }
    if (set_enter_state(cs, ours, vcpu->regs.reset, KVM_MP_STATE_RUNNABLE,
                        enter->errp) == 0) {
        enter->ret = run_enter_code(cs, enter, enter->errp);
    }
    if (put_owed(cs, enter->ret == -EIO ? NULL : enter->errp) < 0) {
        enter->ret = -EIO;
    }
}

/* Finds a page of guest physical addresses at which there is nothing. */
static uint64_t find_hole(uint64_t start)
{
    uint64_t page = qemu_real_host_page_size();

    for (uint64_t gpa = start; ; gpa += page) {
        MemoryRegionSection section =
            memory_region_find(get_system_memory(), gpa, page);

        if (!section.mr) {
            return gpa;
        }
        memory_region_unref(section.mr);
    }
}

/* Has the vCPU enter the guest for @insn and one store. */
static int enter_once(CPUState *cs, uint32_t insn, Error **errp)
{
    const uint32_t insns[] = { insn, SW_ZERO_A0, LOOP };
    uint64_t page = qemu_real_host_page_size();
    /* For good: a slot that cannot be removed is taken again by the next. */
    static void *code;
    EnterOnce enter = { .errp = errp };
    struct kvm_userspace_memory_region slot = {
        /* The last one; kvm-all.c gives out the first. */
        .slot = kvm_check_extension(kvm_state, KVM_CAP_NR_MEMSLOTS) - 1,
        .memory_size = page,
    };
    int ret;

    if (!code) {
        code = qemu_memalign(page, page);
        memset(code, 0, page);
    }
    memcpy(code, insns, sizeof(insns));
    flush_idcache_range((uintptr_t)code, (uintptr_t)code, sizeof(insns));
    slot.userspace_addr = (uintptr_t)code;

    enter.code_gpa = find_hole(0);
    enter.store_gpa = find_hole(enter.code_gpa + page);
    slot.guest_phys_addr = enter.code_gpa;

    ret = kvm_vm_ioctl(kvm_state, KVM_SET_USER_MEMORY_REGION, &slot);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "no KVM memory slot for a page at 0x%"
                         PRIx64, enter.code_gpa);
        return -EIO;
    }
    run_on_cpu(cs, do_enter_once, RUN_ON_CPU_HOST_PTR(&enter));
    slot.memory_size = 0;
    ret = kvm_vm_ioctl(kvm_state, KVM_SET_USER_MEMORY_REGION, &slot);
    if (ret < 0) {
        if (enter.ret != -EIO) {
            error_setg_errno(errp, -ret, "the KVM memory slot at 0x%" PRIx64
                             " cannot be removed", enter.code_gpa);
        }
        return -EIO;
    }
    trace_kvm_riscv_vcpu_enter_once(cs->cpu_index, enter.ret);
    return enter.ret;
}

int kvm_riscv_vcpu_enter_once(CPUState *cs, Error **errp)
{
    return enter_once(cs, NOP, errp);
}

/*
 * Kernels up to 7.2 at least know twice whether a software interrupt is
 * pending: what the guest reads is set with sip, what a WFI looks at is not.
 * A guest that changes the bit itself changes both.  So where they may differ
 * sip is put wrong, and put right by the guest.
 */
static int put_software_interrupt(CPUState *cs, Error **errp)
{
    bool pending = cpu_env(cs)->mip & MIP_SSIP;
    int ret;

    if (!pending && !RISCV_CPU(cs)->kvm_vcpu->ran) {
        return 0;
    }
    ret = set_reg(cs, CSR_REG(sip), pending ? 0 : MIP_SSIP, errp);
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

int kvm_riscv_vcpu_put(CPUState *cs, int level, Error **errp)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    int ret;

    /* Nothing in QEMU changes these registers while the guest runs. */
    if (level < KVM_PUT_RESET_STATE) {
        ret = put_owed(cs, errp);
        return ret < 0 ? ret : kvm_riscv_aia_put_vcpu(cs, level, errp);
    }
    g_clear_pointer(&vcpu->owed, g_free);

    ret = put_regs(cs, vcpu->regs.value, errp);
    if (ret < 0) {
        return ret;
    }

    /* A reset gives harts the MP state of their own, see kvm-cpu.c. */
    if (level == KVM_PUT_FULL_STATE) {
        ret = set_mp_state(cs, vcpu->mp_state, errp);
        if (!ret && vcpu->mp_state == KVM_MP_STATE_RUNNABLE) {
            ret = put_software_interrupt(cs, errp);
        }
        if (ret < 0) {
            return ret;
        }
    }
    trace_kvm_riscv_vcpu_put(cs->cpu_index, vcpu->regs.num, vcpu->mp_state);
    if (level == KVM_PUT_RESET_STATE && kernel_resets) {
        /* What it has run is forgotten; it may go on right away. */
        vcpu->ran = runstate_is_running();
    }
    return kvm_riscv_aia_put_vcpu(cs, level, errp);
}

static int vcpu_pre_save(void *opaque)
{
    CPUState *cs = CPU(opaque);
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;
    Error *err = NULL;
    int ret;

    ret = put_owed(cs, &err) ?: get_mp_state(cs, &vcpu->mp_state, &err);
    if (ret < 0) {
        error_report_err(err);
        return ret;
    }

    for (uint32_t i = 0; i < vcpu->regs.num; i++) {
        ret = get_reg(cs, vcpu->regs.id[i], &vcpu->regs.value[i], &err);
        if (ret < 0) {
            error_report_err(err);
            return ret;
        }
    }

    /* A load that failed half way leaves something. */
    riscv_reg_list_free(&vcpu->stream);
    vcpu->stream = vcpu->regs;
    vcpu->stream_mp_state = vcpu->mp_state;
    vcpu->stream_system_event = vcpu->system_event;
    return 0;
}

static int vcpu_post_save(void *opaque)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(opaque)->kvm_vcpu;

    memset(&vcpu->stream, 0, sizeof(vcpu->stream));
    return 0;
}

static int vcpu_pre_load(void *opaque)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(opaque)->kvm_vcpu;

    riscv_reg_list_free(&vcpu->stream);
    /* Its subsection is only there where there is an event. */
    vcpu->stream_system_event = 0;
    return 0;
}

bool kvm_riscv_vcpu_has_reg(uint64_t id)
{
    RISCVRegList *regs = &RISCV_CPU(first_cpu)->kvm_vcpu->regs;

    return bsearch(&id, regs->id, regs->num, sizeof(id),
                   riscv_reg_id_compare);
}

typedef struct UsedRegs {
    GArray *ids;
    uint64_t satp_mode;
    Error **errp;
    bool ok;
} UsedRegs;

static void do_used_regs(CPUState *cs, run_on_cpu_data arg)
{
    RISCVRegList *regs = &RISCV_CPU(cs)->kvm_vcpu->regs;
    UsedRegs *used = arg.host_ptr;
    uint64_t satp;

    if (get_reg(cs, CSR_REG(satp), &satp, used->errp) < 0) {
        used->ok = false;
        return;
    }
    used->satp_mode = MAX(used->satp_mode, get_field(satp, SATP64_MODE));
    for (uint32_t i = 0; i < regs->num; i++) {
        uint64_t value;

        if (get_reg(cs, regs->id[i], &value, used->errp) < 0) {
            used->ok = false;
            return;
        }
        if (value != regs->reset[i] &&
            !g_array_binary_search(used->ids, &regs->id[i],
                                   riscv_reg_id_compare, NULL)) {
            g_array_append_val(used->ids, regs->id[i]);
            g_array_sort(used->ids, riscv_reg_id_compare);
        }
    }
}

GArray *kvm_riscv_vcpu_used_regs(uint64_t *satp_mode, Error **errp)
{
    UsedRegs used = {
        .ids = g_array_new(false, false, sizeof(uint64_t)),
        .errp = errp,
        .ok = true,
    };
    CPUState *cs;

    CPU_FOREACH(cs) {
        if (used.ok) {
            run_on_cpu(cs, do_used_regs, RUN_ON_CPU_HOST_PTR(&used));
        }
    }
    if (!used.ok) {
        g_array_free(used.ids, true);
        return NULL;
    }
    *satp_mode = used.satp_mode;
    return used.ids;
}

/*
 * The guest has told when its timer is to interrupt, and whether it has yet
 * follows from that.  Without Sstc the kernel keeps a timer of its own, which
 * has to be started, and sets sip.STIP itself when it is over.  With Sstc it
 * has none, and the hardware tells STIP: one that was put would never go.
 */
static void load_timer(CPURISCVState *env)
{
    bool has_sstc = kvm_riscv_vcpu_has_sstc();

    env->mip &= ~(uint64_t)MIP_STIP;
    env->kvm_timer_state = !has_sstc && env->kvm_timer_compare != UINT64_MAX;
}

/* It may have been switched on since the shape was sent. */
static bool check_satp(CPUState *cs, Error **errp)
{
    uint64_t mode = get_field(cpu_env(cs)->satp, SATP64_MODE);

    if (mode > kvm_riscv_vcpu_satp_mode()) {
        error_setg(errp, "hart %d pages by %s, which this host does not have",
                   cs->cpu_index, riscv_satp_mode_name(mode));
        return false;
    }
    return true;
}

static int vcpu_post_load(void *opaque, int version_id)
{
    CPUState *cs = CPU(opaque);
    RISCVCPU *cpu = RISCV_CPU(cs);
    KVMRISCVVCPU *vcpu = cpu->kvm_vcpu;
    Error *err = NULL;
    bool ok = check_satp(cs, &err) &&
              kvm_riscv_system_event_check(vcpu->stream_system_event,
                                           cs->cpu_index, &err) &&
              riscv_vcpu_regs_load(vcpu, cs->cpu_index,
                                   riscv_has_ext(&cpu->env, RVD), &err);

    trace_kvm_riscv_vcpu_load(cs->cpu_index, vcpu->stream.num, vcpu->regs.num);
    riscv_reg_list_free(&vcpu->stream);
    if (!ok) {
        error_report_err(err);
        return -EINVAL;
    }
    load_timer(&cpu->env);
    vcpu->system_event = vcpu->stream_system_event;
    vcpu->loaded = true;
    return 0;
}

int kvm_riscv_vcpu_check_loaded(CPUState *cs)
{
    KVMRISCVVCPU *vcpu = RISCV_CPU(cs)->kvm_vcpu;

    if (!vcpu->loaded) {
        error_report("hart %d: the source sends no subsection cpu/kvm-riscv: "
                     "it is a QEMU that cannot save a KVM guest whole",
                     cs->cpu_index);
        error_printf("Only this fork can, so the guest has to be started in "
                     "it; one that runs in another QEMU can only be shut down "
                     "there and started here.\n");
        return -EINVAL;
    }
    return 0;
}

static bool vcpu_needed(void *opaque)
{
    return kvm_enabled();
}

const VMStateDescription vmstate_kvm_riscv_vcpu = {
    .name = "cpu/kvm-riscv",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = vcpu_needed,
    .pre_save = vcpu_pre_save,
    .post_save = vcpu_post_save,
    .pre_load = vcpu_pre_load,
    .post_load = vcpu_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT_POINTER(kvm_vcpu, RISCVCPU, vmstate_riscv_vcpu_regs,
                               KVMRISCVVCPU),
        VMSTATE_END_OF_LIST()
    },
    .subsections = (const VMStateDescription * const []) {
        &vmstate_kvm_riscv_system_event,
        NULL
    },
};
