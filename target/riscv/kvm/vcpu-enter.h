/*
 * Entries into the guest that are QEMU's, not the guest's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef RISCV_KVM_VCPU_ENTER_H
#define RISCV_KVM_VCPU_ENTER_H

/**
 * kvm_riscv_vcpu_begin_entries, kvm_riscv_vcpu_end_entries
 *
 * Around several entries, which are cheaper so: the guest has the pages all the
 * while.  With the BQL held.  Return 0 or a negative errno; each beginning that
 * succeeds needs its end.
 */
int kvm_riscv_vcpu_begin_entries(Error **errp);
int kvm_riscv_vcpu_end_entries(Error **errp);

/*
 * Instead of the end where the guest may never go on: to take the pages away
 * takes KVM milliseconds.  kvm_riscv_vcpu_drop_pages() does so before it runs.
 */
void kvm_riscv_vcpu_leave_pages(void);
void kvm_riscv_vcpu_drop_pages(void);

/**
 * kvm_riscv_vcpu_work - have vCPUs' threads do something, all at once
 * @func: without the BQL, so nothing in it may be another vCPU's
 * @cs: @num vCPUs
 * @opaque: as many elements of @size bytes, of which each is given its own
 *
 * While the machine stands, with the BQL held, which is released meanwhile.
 * One may be that of this thread.
 */
typedef void RISCVVCPUWork(CPUState *cs, void *opaque);
void kvm_riscv_vcpu_work(RISCVVCPUWork *func, CPUState **cs, void *opaque,
                         size_t size, unsigned num);

/**
 * struct RISCVSBICall - a call of the SBI, and what it has answered
 * @ext: extension, not 0
 * @fid: function
 */
typedef struct RISCVSBICall {
    uint64_t ext;
    uint64_t fid;
    uint64_t arg[4];
    int64_t error;
    uint64_t value;
} RISCVSBICall;

#define RISCV_SBI_CALLS_MAX 252

/**
 * struct RISCVHartCalls - the calls that one hart makes
 * @calls: at most RISCV_SBI_CALLS_MAX, of an extension that KVM itself serves
 * @synchronize: have QEMU read the vCPU's registers first
 *     (cpu_synchronize_state())
 * @ret: 0, -EBUSY (without an error) where the guest interrupt file that
 *     hwaccel demands is not to be had, or another negative errno
 * @err: with the latter
 *
 * Where there is an error the calls may have been made all the same: then their
 * answers tell.
 */
typedef struct RISCVHartCalls {
    CPUState *cs;
    RISCVSBICall *calls;
    unsigned num;
    bool synchronize;
    int ret;
    Error *err;
} RISCVHartCalls;

/**
 * kvm_riscv_vcpu_call_sbi - have vCPUs make calls of the SBI
 * @each: the calls of @num harts, with @ret 0 and @err NULL
 *
 * Each in one entry into the guest, on a page of QEMU's; all at once, in the
 * vCPUs' own threads.  With the BQL held, which is released meanwhile, and the
 * guest not running; one may be that of this thread.  The external
 * interrupts must be evaluated again before the harts run
 * (kvm_riscv_vcpu_put()).
 */
void kvm_riscv_vcpu_call_sbi(RISCVHartCalls *each, unsigned num);

/**
 * kvm_riscv_vcpu_put_entered - give the guest back what an entry has changed
 *
 * Where that has failed then.  For kvm_riscv_vcpu_put_owed().
 */
int kvm_riscv_vcpu_put_entered(CPUState *cs, Error **errp);

/**
 * kvm_riscv_vcpu_put_software_interrupt - make a WFI see sip.SSIP as it is put
 *
 * After the registers and the MP state of a hart that is not stopped.  Returns
 * 0 or a negative errno.
 */
int kvm_riscv_vcpu_put_software_interrupt(CPUState *cs, Error **errp);

#endif
