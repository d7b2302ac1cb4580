/*
 * Another VMM's order of accesses to KVM's AIA: how long it takes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *   order HARTS CPUS
 *
 * Prints for a save and for a load the accesses and the microseconds that they
 * took.  The virtual machine is as the machine "virt" has it, each hart has run
 * on one of the first CPUS of the host.  That VMM keeps domaincfg, sourcecfg,
 * target, setie and setip, of a file eidelivery, eithreshold, eip and eie.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#define SOURCES     96
#define WORDS       (SOURCES / 32 + 1)
#define IDS         255
#define MAX_HARTS   512

#define DOMAINCFG   0x0000
#define SOURCECFG   0x0004
#define SETIP       0x1c00
#define CLRIP       0x1d00
#define SETIE       0x1e00
#define CLRIE       0x1f00
#define TARGET      0x3004

#define EIDELIVERY  0x70
#define EITHRESHOLD 0x72
#define EIP         0x80
#define EIE         0xc0

#define APLIC_ADDR  0xd000000UL
#define IMSIC_ADDR  0x28000000UL
#define CODE_ADDR   0x1000UL

/* A store to where nothing is, which ends KVM_RUN */
static const uint32_t code[] = { 0x00003023, 0x0000006f };

static int vm, aia;
static unsigned accesses;
static uint32_t aplic[SOURCES * 2 + WORDS * 2 + 1];
static uint64_t file[MAX_HARTS][2 + 2 * WORDS];

static int check(int ret, const char *what)
{
    if (ret < 0) {
        perror(what);
        exit(EXIT_FAILURE);
    }
    return ret;
}

static void attr(bool set, uint32_t group, uint64_t number, void *val)
{
    struct kvm_device_attr a = {
        .group = group, .attr = number, .addr = (uintptr_t)val,
    };

    accesses++;
    check(ioctl(aia, set ? KVM_SET_DEVICE_ATTR : KVM_GET_DEVICE_ATTR, &a),
          "AIA attribute");
}

static void set_config(uint64_t number, uint32_t val)
{
    attr(true, KVM_DEV_RISCV_AIA_GRP_CONFIG, number, &val);
}

static void set_addr(uint64_t number, uint64_t val)
{
    attr(true, KVM_DEV_RISCV_AIA_GRP_ADDR, number, &val);
}

static void enter(int vcpu, int run_size, int cpu)
{
    struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
    uint64_t pc = CODE_ADDR;
    struct kvm_one_reg reg = {
        KVM_REG_RISCV | KVM_REG_SIZE_U64 | KVM_REG_RISCV_CORE |
        KVM_REG_RISCV_CORE_REG(regs.pc), (uintptr_t)&pc
    };
    struct kvm_run *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE,
                               MAP_SHARED, vcpu, 0);
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    check(sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
    check(run == MAP_FAILED ? -1 : 0, "mmap");
    check(ioctl(vcpu, KVM_SET_MP_STATE, &runnable), "KVM_SET_MP_STATE");
    check(ioctl(vcpu, KVM_SET_ONE_REG, &reg), "pc");
    check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
    if (run->exit_reason != KVM_EXIT_MMIO) {
        fprintf(stderr, "exit reason %u\n", run->exit_reason);
        exit(EXIT_FAILURE);
    }
}

static void start(unsigned harts, int cpus)
{
    int kvm = check(open("/dev/kvm", O_RDWR), "/dev/kvm");
    int run_size = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "run size");
    struct kvm_create_device device = { .type = KVM_DEV_TYPE_RISCV_AIA };
    struct kvm_userspace_memory_region slot = {
        .guest_phys_addr = CODE_ADDR, .memory_size = 4096,
    };
    int vcpu[MAX_HARTS];
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    check(page == MAP_FAILED ? -1 : 0, "mmap");
    memcpy(page, code, sizeof(code));
    slot.userspace_addr = (uintptr_t)page;
    vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "memory");
    for (unsigned hart = 0; hart < harts; hart++) {
        vcpu[hart] = check(ioctl(vm, KVM_CREATE_VCPU, (long)hart), "vCPU");
    }
    check(ioctl(vm, KVM_CREATE_DEVICE, &device), "AIA");
    aia = device.fd;
    set_config(KVM_DEV_RISCV_AIA_CONFIG_SRCS, SOURCES);
    set_config(KVM_DEV_RISCV_AIA_CONFIG_IDS, IDS);
    set_config(KVM_DEV_RISCV_AIA_CONFIG_HART_BITS,
               harts > 1 ? 32 - __builtin_clz(harts - 1) : 0);
    set_addr(KVM_DEV_RISCV_AIA_ADDR_APLIC, APLIC_ADDR);
    for (unsigned hart = 0; hart < harts; hart++) {
        set_addr(KVM_DEV_RISCV_AIA_ADDR_IMSIC(hart), IMSIC_ADDR + hart * 4096);
    }
    attr(true, KVM_DEV_RISCV_AIA_GRP_CTRL, KVM_DEV_RISCV_AIA_CTRL_INIT, NULL);
    for (unsigned hart = 0; hart < harts; hart++) {
        enter(vcpu[hart], run_size, hart % cpus);
    }
}

static uint32_t *regs(bool set, uint32_t first, int count, uint32_t *val)
{
    for (int i = 0; i < count; i++) {
        attr(set, KVM_DEV_RISCV_AIA_GRP_APLIC, first + 4 * i, val++);
    }
    return val;
}

static void all_regs(bool set)
{
    uint32_t *val = aplic + 1;

    val = regs(set, SOURCECFG, SOURCES, val);
    val = regs(set, TARGET, SOURCES, val);
    val = regs(set, SETIE, WORDS, val);
    regs(set, SETIP, WORDS, val);
    regs(set, DOMAINCFG, 1, aplic);
}

static void all_files(bool set, unsigned harts)
{
    for (unsigned hart = 0; hart < harts; hart++) {
        uint64_t *val = file[hart];
        uint32_t each[2 + 2 * WORDS] = { EIDELIVERY, EITHRESHOLD };

        for (int i = 0; i < WORDS; i++) {
            each[2 + i] = EIP + 2 * i;
            each[2 + WORDS + i] = EIE + 2 * i;
        }
        for (int i = 0; i < 2 + 2 * WORDS; i++) {
            attr(set, KVM_DEV_RISCV_AIA_GRP_IMSIC,
                 KVM_DEV_RISCV_AIA_IMSIC_MKATTR((uint64_t)hart, each[i]),
                 val++);
        }
    }
}

/* 211 were counted of that VMM; what the last one is, is not known. */
static void clear(void)
{
    uint32_t off = 0, all[WORDS];

    memset(all, 0xff, sizeof(all));
    regs(true, DOMAINCFG, 1, &off);
    regs(true, CLRIE, WORDS, all);
    regs(true, CLRIP, WORDS, all);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
    unsigned harts = argc == 3 ? atoi(argv[1]) : 0;
    double began;

    if (!harts || harts > MAX_HARTS) {
        fprintf(stderr, "order HARTS CPUS\n");
        return EXIT_FAILURE;
    }
    start(harts, atoi(argv[2]));

    accesses = 0;
    began = now();
    all_regs(false);
    all_files(false, harts);
    printf("save %u %.0f\n", accesses, now() - began);

    accesses = 0;
    began = now();
    clear();
    all_regs(true);
    all_files(true, harts);
    printf("load %u %.0f\n", accesses, now() - began);
    return 0;
}
