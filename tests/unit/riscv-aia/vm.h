/*
 * A virtual machine with an in-kernel AIA, without QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Of ioctls only.  All that is not a question to the AIA is expected to work.
 */

#ifndef TESTS_UNIT_RISCV_AIA_VM_H
#define TESTS_UNIT_RISCV_AIA_VM_H

#include "model.h"

/* The external interrupt in sip */
#define SIP_SEIP BIT(9)

typedef struct VM {
    int fd;
    int aia;
    uint32_t num_harts;
    int vcpu[RISCV_AIA_MODEL_MAX_HARTS];
    struct kvm_run *run[RISCV_AIA_MODEL_MAX_HARTS];
} VM;

/* To be called first.  Says what is wrong, and ends, where there is no KVM. */
void vm_open_kvm(void);

/* Its AIA is created, and neither configured nor initialized. */
VM *vm_new(uint32_t num_harts);
void vm_free(VM *vm);

/* Each returns what the kernel does, but -errno for -1. */
int vm_has_attr(VM *vm, uint32_t group, uint64_t attr);
int vm_get_attr(VM *vm, uint32_t group, uint64_t attr, uint64_t *val);
int vm_set_attr(VM *vm, uint32_t group, uint64_t attr, uint64_t val);
int vm_irq_line(VM *vm, uint32_t source, uint32_t level);
int vm_signal_msi(VM *vm, uint64_t addr, uint32_t data);

/* The external interrupt as KVM injects it */
bool vm_get_seip(VM *vm, uint32_t hart);
void vm_put_seip(VM *vm, uint32_t hart, bool seip);

/**
 * vm_enter - have a hart enter the guest, once, on a CPU of the host
 * @told: stopei of the hart in the upper half, SIP_SEIP of its sip in the lower
 *
 * Returns -EBUSY where the kernel has no hardware file for it.
 */
int vm_enter(VM *vm, uint32_t hart, uint32_t cpu, uint64_t *told);

/*
 * The same, and from there has SBI start the next hart, once it is stopped.
 * @hart must not have been started itself and not entered since.
 */
int vm_start_next(VM *vm, uint32_t hart, uint32_t cpu, uint64_t *told);

/* KVM_RUN on a CPU of the host; a signal ends it before it enters the guest */
void vm_load_vcpu(VM *vm, uint32_t hart, uint32_t cpu);

/* Memory of the guest, in whole pages */
void vm_set_memory(VM *vm, uint64_t addr, void *memory, size_t size,
                   bool log_dirty);
uint64_t vm_read_memory(VM *vm, uint32_t hart, uint64_t addr);
void vm_write_memory(VM *vm, uint32_t hart, uint64_t addr, uint64_t val);

/* sscratch, from outside, and as the guest reads it on a CPU of the host */
void vm_set_sscratch(VM *vm, uint32_t hart, uint64_t val);
uint64_t vm_read_sscratch(VM *vm, uint32_t hart, uint32_t cpu);

/*
 * Puts a timer, in cycles from now, and starts it, as a load does where the
 * host has no Sstc.  Returns the cycles from then until it is due.
 */
int64_t vm_start_timer(VM *vm, uint32_t hart, uint64_t cycles);

static inline uint32_t vm_next(uint32_t hart, uint32_t num_harts)
{
    return (hart + 1) % num_harts;
}

#endif
