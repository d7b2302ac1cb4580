/*
 * What a vCPU has that no register shows
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It can be had and put by detours only, and some of it is there only since
 * kernels have faults.  The vCPU's registers and MP state are whole without:
 * vcpu.c calls what is told here and nothing else of it.
 */

#ifndef RISCV_KVM_VCPU_EXTRA_H
#define RISCV_KVM_VCPU_EXTRA_H

#include "migration/vmstate.h"

/**
 * struct RISCVNoFile - the wait for a guest interrupt file, see no-file.c
 *
 * @failed: KVM_RUN has ended for want of one
 * @told: this wait has been reported
 * @next_cpu: of the host, the first that has not been tried yet
 * @last_ms: when that was last so
 */
typedef struct RISCVNoFile {
    bool failed;
    bool told;
    unsigned next_cpu;
    int64_t last_ms;
} RISCVNoFile;

/**
 * struct RISCVPMU - performance counters, see vcpu-pmu.c
 *
 * @asked: @area is what the kernel has; else it has to be asked
 * @told: the guest may have asked for its counters since it was reset
 * @to_put: comes from a stream, and KVM does not have it yet
 * @area: guest physical address of the snapshot area, or RISCV_PMU_NO_AREA
 * @stream_area: what the stream holds
 * @stream_num, @stream_firmware: likewise, how many counters the source's vCPU
 *     has, and which of them are the SBI's own, a bit each; 0: nobody has asked
 */
typedef struct RISCVPMU {
    bool asked;
    bool told;
    bool to_put;
    uint64_t area;
    uint64_t stream_area;
    uint32_t stream_num;
    uint64_t stream_firmware;
} RISCVPMU;

/**
 * struct RISCVVCPUExtra - of one vCPU
 *
 * @owed: registers of the guest that could not be put back after an entry of
 *     QEMU's own, if any
 * @saved_file: what a save has read of its interrupt file, until its section
 *     is written; or NULL
 * @file_to_load: what has come from the stream and waits to be written; or NULL
 * @reset_upper: upper halves of its file have been seen to in this reset
 * @system_event: with which it has left KVM_RUN, see system-event.c; or 0
 * @stream_system_event: what the stream holds
 */
typedef struct RISCVVCPUExtra {
    struct RISCVEnterState *owed;
    struct RISCVIMSICRegs *saved_file;
    const struct RISCVIMSICRegs *file_to_load;
    bool reset_upper;
    uint32_t system_event;
    uint32_t stream_system_event;
    RISCVNoFile no_file;
    RISCVPMU pmu;
} RISCVVCPUExtra;

/* Subsections of vmstate_kvm_riscv_vcpu */
extern const VMStateDescription *const vmstate_kvm_riscv_extra[];

/*
 * Around each KVM_RUN, in the vCPU's thread: with the BQL held, which is
 * released where the hart has to wait; right before; right after.
 */
void kvm_riscv_extra_wait(CPUState *cs);
void kvm_riscv_extra_enter(CPUState *cs);
void kvm_riscv_extra_leave(CPUState *cs);

/* From kvm_riscv_vcpu_init() */
void kvm_riscv_extra_init(CPUState *cs);

/* From kvm_riscv_vcpu_reset(), before KVM resets the vCPU */
void kvm_riscv_extra_reset(CPUState *cs);

/* From kvm_riscv_vcpu_put(), when the vCPU gets its registers of a reset */
void kvm_riscv_extra_was_reset(CPUState *cs);

/* The machine is about to run. */
void kvm_riscv_extra_run(CPUState *cs);

/*
 * Around the section of the vCPU: @errp says why the machine cannot be saved,
 * or the stream not be loaded.
 */
bool kvm_riscv_extra_pre_save(CPUState *cs, Error **errp);
void kvm_riscv_extra_pre_load(CPUState *cs);
bool kvm_riscv_extra_check(CPUState *cs, Error **errp);
void kvm_riscv_extra_take(CPUState *cs);

/**
 * kvm_riscv_extra_put - after the registers and the MP state were put
 *
 * After a load.  Returns 0 or a negative errno.
 */
int kvm_riscv_extra_put(CPUState *cs, Error **errp);

#endif
