/*
 * A virtual machine with an in-kernel AIA, without QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vm.h"
#include <sched.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>

/* Where in guest physical memory; there is nothing at 0. */
#define CODE_ADDR      0x1000
#define TELL_ADDR      (CODE_ADDR + 4)
#define SSCRATCH_ADDR  (CODE_ADDR + 28)
#define MEMORY_ADDR    (CODE_ADDR + 40)

#define CORE_REG(name) (KVM_REG_RISCV_CORE | KVM_REG_RISCV_CORE_REG(name))
#define CSR_REG(name)  (KVM_REG_RISCV_CSR | KVM_REG_RISCV_CSR_REG(name))
#define TIMER_REG(name) (KVM_REG_RISCV_TIMER | KVM_REG_RISCV_TIMER_REG(name))

/* SBI's hart state management */
#define SBI_HSM        0x48534d
#define SBI_HART_START 0

/*
 * What a guest runs: calls SBI, where it is to, then tells its stopei and sip
 * by a store to where nothing is, again and again.  Or it tells its sscratch.
 * Or it tells what is at a0, and stores a1 there.
 */
static const uint32_t guest_code[] = {
    0x00000073, /* ecall */
    0x15c02373, /* csrr t1, stopei */
    0x144023f3, /* csrr t2, sip */
    0x02031313, /* slli t1, t1, 32 */
    0x00736333, /* or t1, t1, t2 */
    0x00603023, /* sd t1, 0(zero) */
    0xfedff06f, /* j .-20 */
    0x14002373, /* csrr t1, sscratch */
    0x00603023, /* sd t1, 0(zero) */
    0xff9ff06f, /* j .-8 */
    0x00053303, /* ld t1, 0(a0) */
    0x00603023, /* sd t1, 0(zero) */
    0x00b53023, /* sd a1, 0(a0) */
    0x00b03023, /* sd a1, 0(zero) */
};

static uint8_t guest_page[4096] QEMU_ALIGNED(4096);
static int kvm_fd;
static size_t run_size;

static int do_ioctl(int fd, unsigned long request, const void *arg)
{
    int ret = ioctl(fd, request, arg);

    return ret < 0 ? -errno : ret;
}

void vm_open_kvm(void)
{
    kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm_fd < 0) {
        printf("Bail out! /dev/kvm: %s\n", strerror(errno));
        exit(EXIT_FAILURE);
    }
    run_size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    memcpy(guest_page, guest_code, sizeof(guest_code));
}

int vm_has_attr(VM *vm, uint32_t group, uint64_t attr)
{
    struct kvm_device_attr a = { 0, group, attr };

    return do_ioctl(vm->aia, KVM_HAS_DEVICE_ATTR, &a);
}

int vm_get_attr(VM *vm, uint32_t group, uint64_t attr, uint64_t *val)
{
    struct kvm_device_attr a = { 0, group, attr, (uintptr_t)val };

    return do_ioctl(vm->aia, KVM_GET_DEVICE_ATTR, &a);
}

int vm_set_attr(VM *vm, uint32_t group, uint64_t attr, uint64_t val)
{
    struct kvm_device_attr a = { 0, group, attr, (uintptr_t)&val };

    return do_ioctl(vm->aia, KVM_SET_DEVICE_ATTR, &a);
}

int vm_irq_line(VM *vm, uint32_t source, uint32_t level)
{
    struct kvm_irq_level line = { { source }, level };

    return do_ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

int vm_signal_msi(VM *vm, uint64_t addr, uint32_t data)
{
    struct kvm_msi msi = {
        .address_lo = addr, .address_hi = addr >> 32, .data = data,
    };

    return do_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}

static void one_reg(VM *vm, uint32_t hart, unsigned long request, uint64_t reg,
                    uint64_t *val)
{
    struct kvm_one_reg r = {
        KVM_REG_RISCV | KVM_REG_SIZE_U64 | reg, (uintptr_t)val
    };

    g_assert_cmpint(do_ioctl(vm->vcpu[hart], request, &r), ==, 0);
}

static void set_reg(VM *vm, uint32_t hart, uint64_t reg, uint64_t val)
{
    one_reg(vm, hart, KVM_SET_ONE_REG, reg, &val);
}

bool vm_get_seip(VM *vm, uint32_t hart)
{
    uint64_t sip;

    one_reg(vm, hart, KVM_GET_ONE_REG, CSR_REG(sip), &sip);
    return sip & SIP_SEIP;
}

void vm_put_seip(VM *vm, uint32_t hart, bool seip)
{
    set_reg(vm, hart, CSR_REG(sip), seip ? SIP_SEIP : 0);
}

static void set_mp_state(VM *vm, uint32_t hart, uint32_t mp_state)
{
    struct kvm_mp_state s = { mp_state };

    g_assert_cmpint(do_ioctl(vm->vcpu[hart], KVM_SET_MP_STATE, &s), ==, 0);
}

static void pin(uint32_t cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    g_assert_cmpint(sched_setaffinity(0, sizeof(set), &set), ==, 0);
}

/* KVM_RUN on @cpu until there is something to be done */
static void run(VM *vm, uint32_t hart, uint32_t cpu)
{
    int ret;

    pin(cpu);
    do {
        ret = do_ioctl(vm->vcpu[hart], KVM_RUN, NULL);
    } while (ret == -EINTR || ret == -EAGAIN);
    g_assert_cmpint(ret, ==, 0);
    /* To reach the hardware files of another CPU takes long: back to most. */
    pin(0);
}

static int enter(VM *vm, uint32_t hart, uint32_t cpu, uint64_t *told)
{
    struct kvm_run *kvm_run = vm->run[hart];

    run(vm, hart, cpu);
    if (kvm_run->exit_reason == KVM_EXIT_FAIL_ENTRY) {
        return -EBUSY;
    }
    g_assert_cmpint(kvm_run->exit_reason, ==, KVM_EXIT_MMIO);
    g_assert_cmphex(kvm_run->mmio.phys_addr, ==, 0);
    g_assert(kvm_run->mmio.is_write && kvm_run->mmio.len == sizeof(*told));
    memcpy(told, kvm_run->mmio.data, sizeof(*told));

    /* Complete the store, so that pc may be set. */
    kvm_run->immediate_exit = 1;
    g_assert_cmpint(do_ioctl(vm->vcpu[hart], KVM_RUN, NULL), ==, -EINTR);
    kvm_run->immediate_exit = 0;
    return 0;
}

int vm_enter(VM *vm, uint32_t hart, uint32_t cpu, uint64_t *told)
{
    int ret = enter(vm, hart, cpu, told);

    *told &= MAKE_64BIT_MASK(32, 32) | SIP_SEIP;
    return ret;
}

uint64_t vm_read_sscratch(VM *vm, uint32_t hart, uint32_t cpu)
{
    uint64_t val;

    set_reg(vm, hart, CORE_REG(regs.pc), SSCRATCH_ADDR);
    g_assert_cmpint(enter(vm, hart, cpu, &val), ==, 0);
    return val;
}

void vm_set_memory(VM *vm, uint64_t addr, void *memory, size_t size,
                   bool log_dirty)
{
    struct kvm_userspace_memory_region slot = {
        .slot = 1,
        .flags = log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0,
        .guest_phys_addr = addr,
        .memory_size = size,
        .userspace_addr = (uintptr_t)memory,
    };

    g_assert_cmpint(do_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot), ==,
                    0);
}

uint64_t vm_read_memory(VM *vm, uint32_t hart, uint64_t addr)
{
    uint64_t val;

    set_reg(vm, hart, CORE_REG(regs.a0), addr);
    set_reg(vm, hart, CORE_REG(regs.pc), MEMORY_ADDR);
    g_assert_cmpint(enter(vm, hart, 0, &val), ==, 0);
    return val;
}

void vm_write_memory(VM *vm, uint32_t hart, uint64_t addr, uint64_t val)
{
    uint64_t told;

    set_reg(vm, hart, CORE_REG(regs.a0), addr);
    set_reg(vm, hart, CORE_REG(regs.a1), val);
    set_reg(vm, hart, CORE_REG(regs.pc), MEMORY_ADDR + 8);
    g_assert_cmpint(enter(vm, hart, 0, &told), ==, 0);
    g_assert_cmphex(told, ==, val);
}

void vm_set_sscratch(VM *vm, uint32_t hart, uint64_t val)
{
    set_reg(vm, hart, CSR_REG(sscratch), val);
}

int64_t vm_start_timer(VM *vm, uint32_t hart, uint64_t cycles)
{
    uint64_t now, due;

    one_reg(vm, hart, KVM_GET_ONE_REG, TIMER_REG(time), &now);
    set_reg(vm, hart, TIMER_REG(compare), now + cycles);
    set_reg(vm, hart, TIMER_REG(state), KVM_RISCV_TIMER_STATE_ON);
    one_reg(vm, hart, KVM_GET_ONE_REG, TIMER_REG(compare), &due);
    return due - now;
}

void vm_load_vcpu(VM *vm, uint32_t hart, uint32_t cpu)
{
    /* All signals are taken during KVM_RUN. */
    struct {
        struct kvm_signal_mask mask;
        uint64_t set;
    } during = { .mask.len = sizeof(during.set) };
    sigset_t set;
    int sig;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    g_assert_cmpint(do_ioctl(vm->vcpu[hart], KVM_SET_SIGNAL_MASK, &during), ==,
                    0);
    pin(cpu);
    g_assert_cmpint(do_ioctl(vm->vcpu[hart], KVM_RUN, NULL), ==, -EINTR);
    pin(0);
    g_assert_cmpint(do_ioctl(vm->vcpu[hart], KVM_SET_SIGNAL_MASK, NULL), ==, 0);
    sigwait(&set, &sig);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int vm_start_next(VM *vm, uint32_t hart, uint32_t cpu, uint64_t *told)
{
    uint32_t next = vm_next(hart, vm->num_harts);
    int ret;

    set_mp_state(vm, next, KVM_MP_STATE_STOPPED);
    set_reg(vm, hart, CORE_REG(regs.a7), SBI_HSM);
    set_reg(vm, hart, CORE_REG(regs.a6), SBI_HART_START);
    set_reg(vm, hart, CORE_REG(regs.a0), next);
    set_reg(vm, hart, CORE_REG(regs.a1), TELL_ADDR);
    set_reg(vm, hart, CORE_REG(regs.pc), CODE_ADDR);
    ret = vm_enter(vm, hart, cpu, told);
    if (ret < 0) {
        set_reg(vm, hart, CORE_REG(regs.pc), TELL_ADDR);
        set_mp_state(vm, next, KVM_MP_STATE_RUNNABLE);
    }
    return ret;
}

VM *vm_new(uint32_t num_harts)
{
    VM *vm = g_new0(VM, 1);
    struct kvm_userspace_memory_region slot = {
        .guest_phys_addr = CODE_ADDR,
        .memory_size = sizeof(guest_page),
        .userspace_addr = (uintptr_t)guest_page,
    };
    struct kvm_create_device device = { .type = KVM_DEV_TYPE_RISCV_AIA };

    vm->fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
    g_assert_cmpint(vm->fd, >=, 0);
    g_assert_cmpint(do_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot), ==,
                    0);
    vm->num_harts = num_harts;
    for (uint32_t hart = 0; hart < num_harts; hart++) {
        vm->vcpu[hart] = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)hart);
        g_assert_cmpint(vm->vcpu[hart], >=, 0);
        vm->run[hart] = mmap(NULL, run_size, PROT_READ | PROT_WRITE,
                             MAP_SHARED, vm->vcpu[hart], 0);
        g_assert(vm->run[hart] != MAP_FAILED);
        set_mp_state(vm, hart, KVM_MP_STATE_RUNNABLE);
        set_reg(vm, hart, CORE_REG(regs.pc), TELL_ADDR);
    }
    g_assert_cmpint(do_ioctl(vm->fd, KVM_CREATE_DEVICE, &device), ==, 0);
    vm->aia = device.fd;
    return vm;
}

void vm_free(VM *vm)
{
    for (uint32_t hart = 0; hart < vm->num_harts; hart++) {
        munmap(vm->run[hart], run_size);
        close(vm->vcpu[hart]);
    }
    close(vm->aia);
    close(vm->fd);
    g_free(vm);
}
