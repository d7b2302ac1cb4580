/*
 * What a test and the library preloaded into its QEMU tell each other
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Lies in a file that both map, which FAULT_ENV names to the library.
 */

#ifndef RISCV_AIA_FAULT_H
#define RISCV_AIA_FAULT_H

#define FAULT_ENV "QTEST_RISCV_AIA_FAULT"
#define FAULT_ANY UINT64_MAX
#define FAULT_LOG 8192
#define FAULT_RUNS 1024

typedef struct FaultCall {
    uint64_t request;
    uint64_t subject;
} FaultCall;

typedef struct FaultRun {
    int32_t thread;
    int32_t cpu;
} FaultRun;

/**
 * FaultControl - which calls of ioctl() fail
 * @request: as of ioctl(); set last, 0 while nothing is armed, FAULT_ANY for
 *     whichever
 * @mask, @match: only calls whose subject & @mask is @match count
 * @nth: of these the one that fails, from 1; 0 for none
 * @times: so many fail, from @nth on
 * @error: errno of the failure; 0 to let them through and only set @heap
 * @guest_only: calls for a virtual machine that is not the guest's do not count
 * @calls: the library's: how many have counted
 * @failed: the library's: how many of them were to fail
 * @heap: the library's: bytes that malloc() had given out at the last of those
 * @moves: whether a vCPU is in KVM_RUN on the last CPU of the host where its
 *     thread may run, and on another one before, if its CSRs were put
 * @moved: the library's: how often that was so
 * @confines: whether QEMU's threads may not choose their CPUs of the host; with
 *     it @moves spares QEMU's own entries into the guest
 * @holds: whether a vCPU that has left KVM_RUN with a reset or a power-off, by
 *     a system event or the device for that, comes back with it only once it
 *     has been kicked
 * @held: the library's: how often one has been held so
 * @keeps: whether who populates memory has to wait
 * @kept: the library's: how often somebody has
 * @watches: whether @run gets the calls of KVM_RUN
 * @runs: the library's: how many there were
 * @bound: a thread that is given @bound_to, CPUs of the host, at the next of
 *     them, as an operator would; 0 for none
 * @delay_ms: so long each of them waits first
 * @delays_stopped: only those for a stopped hart, which do not enter the guest
 * @run: the library's: the thread and the CPU of the host of each
 * @call: the library's: those that counted; the subject is the id of a
 *     register, group << 32 | attr of an attribute, or whether it is a stopped
 *     hart that KVM_RUN is called for: how often that is does not follow from
 *     what was asked for
 */
typedef struct FaultControl {
    uint64_t request;
    uint64_t mask;
    uint64_t match;
    uint32_t nth;
    uint32_t times;
    int32_t error;
    bool guest_only;
    uint32_t calls;
    uint32_t failed;
    uint64_t heap;
    bool moves;
    uint32_t moved;
    bool confines;
    bool holds;
    uint32_t held;
    bool keeps;
    uint32_t kept;
    bool watches;
    uint32_t runs;
    int32_t bound;
    uint64_t bound_to;
    uint32_t delay_ms;
    bool delays_stopped;
    FaultRun run[FAULT_RUNS];
    FaultCall call[FAULT_LOG];
} FaultControl;

#endif
