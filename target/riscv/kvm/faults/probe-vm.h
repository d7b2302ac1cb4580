/*
 * A virtual machine that finds out what KVM does
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_PROBE_VM_H
#define RISCV_KVM_PROBE_VM_H

#include "faults.h"

/* Where slots for probe_vm_set_memory() may begin, bytes */
#define PROBE_VM_FREE_GPA 0x200000

typedef struct ProbeVM ProbeVM;

/**
 * probe_vm_new - a machine of one vCPU, beside that of the guest
 *
 * Returns NULL with @errp set where that cannot be had.  Free it with
 * probe_vm_free().
 */
ProbeVM *probe_vm_new(Error **errp);
void probe_vm_free(ProbeVM *vm);

/**
 * probe_vm_set_memory - KVM_SET_USER_MEMORY_REGION
 * @slot: 0 is taken
 * @gpa: guest physical address, of a page from PROBE_VM_FREE_GPA on
 * @memory: at a page
 * @size: bytes, of whole pages
 * @flags: KVM_MEM_*
 *
 * Returns whether KVM has taken it.
 */
bool probe_vm_set_memory(ProbeVM *vm, uint32_t slot, uint64_t gpa,
                         void *memory, size_t size, uint32_t flags);

/**
 * probe_vm_read, probe_vm_write - have the guest do so
 * @gpa: of 8 bytes, aligned
 *
 * Return whether it has, soon: it may take a fault for ever.
 */
bool probe_vm_read(ProbeVM *vm, uint64_t gpa, uint64_t *val);
bool probe_vm_write(ProbeVM *vm, uint64_t gpa, uint64_t val);

/* From then on the guest has less time to do so: it may never. */
void probe_vm_expect_hang(ProbeVM *vm);

/**
 * probe_vm_set_sscratch - KVM_SET_ONE_REG, of a CSR
 * probe_vm_read_sscratch - have the guest read it
 *
 * Return whether that was possible.
 */
bool probe_vm_set_sscratch(ProbeVM *vm, uint64_t val);
bool probe_vm_read_sscratch(ProbeVM *vm, uint64_t *val);

/**
 * probe_vm_call_sbi - have the guest call the SBI
 * @ext, @fid, @arg: extension, function and first argument; all others are 0
 *     or what the last call has left
 * @error, @value: sbiret
 *
 * Returns whether the SBI has answered, soon.
 */
bool probe_vm_call_sbi(ProbeVM *vm, uint64_t ext, uint64_t fid, uint64_t arg,
                       int64_t *error, uint64_t *value);

/**
 * probe_vm_load - have KVM load the vCPU on this host CPU, and leave it
 *
 * In any thread, and takes its pending SIG_IPI.  Returns whether KVM has.
 */
bool probe_vm_load(ProbeVM *vm);

/**
 * probe_vm_with_file - find out what KVM does with pages of a file
 * @size: of the file, bytes of whole pages, all zeros
 * @mapped: how much of it is at @data, from its start
 * @flags: MAP_SHARED or MAP_PRIVATE
 * @ask: finds it out; file, mapping and machine go when it returns
 *
 * Returns what @ask has, or RISCV_VERDICT_UNKNOWN with @errp set.
 */
RISCVVerdict probe_vm_with_file(size_t size, size_t mapped, int flags,
                                RISCVVerdict (*ask)(ProbeVM *vm, void *data,
                                                    int fd, Error **errp),
                                Error **errp);

#endif
