/*
 * State of a vCPU in the stream: the list of its registers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "qapi/error.h"
#include "vcpu-state.h"

/* More than a kernel will ever list; bounds what a stream may claim. */
#define MAX_REGS 4096

#define REG_TYPE(id)    ((id) & KVM_REG_RISCV_TYPE_MASK)
#define REG_SUBTYPE(id) ((id) & KVM_REG_RISCV_SUBTYPE_MASK)
#define REG_INDEX(id)   ((uint32_t)(id) & ~(KVM_REG_RISCV_TYPE_MASK | \
                                            KVM_REG_RISCV_SUBTYPE_MASK))

/*
 * The last index of struct kvm_riscv_csr that QEMU's sections hold.  kvm-cpu.c
 * knows senvcfg too, but its subsection is for CPUs of privileged architecture
 * 1.12, which "-cpu host" does not claim to be.
 */
#define LAST_CARRIED_CSR KVM_REG_RISCV_CSR_REG(scounteren)

static bool stream_num_ok(void *opaque, int version_id)
{
    return ((KVMRISCVVCPU *)opaque)->stream.num <= MAX_REGS;
}

const VMStateDescription vmstate_riscv_vcpu_regs = {
    .name = "cpu/kvm-riscv/regs",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(stream_mp_state, KVMRISCVVCPU),
        VMSTATE_UINT32(stream.num, KVMRISCVVCPU),
        VMSTATE_VALIDATE("number of KVM registers", stream_num_ok),
        VMSTATE_VARRAY_UINT32_ALLOC(stream.id, KVMRISCVVCPU, stream.num, 0,
                                    vmstate_info_uint64, uint64_t),
        VMSTATE_VARRAY_UINT32_ALLOC(stream.value, KVMRISCVVCPU, stream.num, 0,
                                    vmstate_info_uint64, uint64_t),
        VMSTATE_VARRAY_UINT32_ALLOC(stream.reset, KVMRISCVVCPU, stream.num, 0,
                                    vmstate_info_uint64, uint64_t),
        VMSTATE_END_OF_LIST()
    },
};

void riscv_reg_list_alloc(RISCVRegList *list, uint32_t num)
{
    list->num = num;
    list->id = g_new0(uint64_t, num);
    list->value = g_new0(uint64_t, num);
    list->reset = g_new0(uint64_t, num);
}

void riscv_reg_list_free(RISCVRegList *list)
{
    g_free(list->id);
    g_free(list->value);
    g_free(list->reset);
    memset(list, 0, sizeof(*list));
}

int riscv_reg_id_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

bool riscv_reg_is_config(uint64_t id)
{
    switch (REG_TYPE(id)) {
    case KVM_REG_RISCV_CONFIG:
    case KVM_REG_RISCV_ISA_EXT:
    case KVM_REG_RISCV_SBI_EXT:
        return true;
    default:
        return false;
    }
}

bool riscv_reg_is_carried(uint64_t id, bool has_d)
{
    uint32_t index = REG_INDEX(id);

    switch (REG_TYPE(id)) {
    case KVM_REG_RISCV_CORE:
        return index <= KVM_REG_RISCV_CORE_REG(regs.t6);
    case KVM_REG_RISCV_CSR:
        return REG_SUBTYPE(id) == KVM_REG_RISCV_CSR_GENERAL &&
               index <= LAST_CARRIED_CSR;
    case KVM_REG_RISCV_TIMER:
        return true;
    case KVM_REG_RISCV_FP_F:
        /*
         * With D these are a second view of the same memory, in which the
         * single-precision fcsr lies upon a double-precision register.
         */
        return has_d || index < KVM_REG_RISCV_FP_F_REG(fcsr);
    case KVM_REG_RISCV_FP_D:
        return index < KVM_REG_RISCV_FP_D_REG(fcsr);
    case KVM_REG_RISCV_VECTOR:
        return index != KVM_REG_RISCV_VECTOR_CSR_REG(vcsr);
    default:
        return false;
    }
}

static const char *reg_class(uint64_t id)
{
    switch (REG_TYPE(id)) {
    case KVM_REG_RISCV_CORE:
        return "core";
    case KVM_REG_RISCV_CSR:
        switch (REG_SUBTYPE(id)) {
        case KVM_REG_RISCV_CSR_AIA:
            return "AIA CSR";
        case KVM_REG_RISCV_CSR_SMSTATEEN:
            return "Smstateen CSR";
        default:
            return "CSR";
        }
    case KVM_REG_RISCV_FP_F:
    case KVM_REG_RISCV_FP_D:
        return "floating-point";
    case KVM_REG_RISCV_VECTOR:
        return "vector";
    case KVM_REG_RISCV_SBI_STATE:
        return "SBI state";
    default:
        return "unknown";
    }
}

void riscv_reg_error(Error **errp, uint64_t id, int hart, const char *fmt, ...)
{
    g_autofree char *what = NULL;
    va_list ap;

    va_start(ap, fmt);
    what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_setg(errp, "KVM register 0x%016" PRIx64 " (%s) of hart %d: %s", id,
               reg_class(id), hart, what);
}

/* The position of @id in @list, or its length. */
static uint32_t find(const RISCVRegList *list, uint64_t id)
{
    uint64_t *found = bsearch(&id, list->id, list->num, sizeof(id),
                              riscv_reg_id_compare);

    return found ? found - list->id : list->num;
}

/* Whether @list has the register of @id with another size. */
static bool has_other_size(const RISCVRegList *list, uint64_t id)
{
    for (uint32_t i = 0; i < list->num; i++) {
        if (!((list->id[i] ^ id) & ~KVM_REG_SIZE_MASK)) {
            return list->id[i] != id;
        }
    }
    return false;
}

/* Whether @val has bits that a register does not. */
static bool is_too_wide(uint64_t id, uint64_t val)
{
    return RISCV_REG_BYTES(id) < sizeof(val) &&
           val >> (8 * RISCV_REG_BYTES(id));
}

/* Refuses a register of the stream that does not belong there. */
static bool check_reg(const RISCVRegList *regs, uint64_t id, uint64_t value,
                      uint64_t reset, int hart, bool has_d, Error **errp)
{
    if ((id & ~(KVM_REG_SIZE_MASK | UINT32_MAX)) != KVM_REG_RISCV) {
        riscv_reg_error(errp, id, hart, "is none of RISC-V");
        return false;
    }
    if (RISCV_REG_BYTES(id) > sizeof(uint64_t) || has_other_size(regs, id)) {
        riscv_reg_error(errp, id, hart, "is of the wrong size");
        return false;
    }
    if (is_too_wide(id, value | reset)) {
        riscv_reg_error(errp, id, hart, "cannot hold 0x%" PRIx64 " or 0x%"
                        PRIx64, value, reset);
        return false;
    }
    if (riscv_reg_is_config(id) || riscv_reg_is_carried(id, has_d)) {
        riscv_reg_error(errp, id, hart, "does not belong into this section");
        return false;
    }
    /* One that the guest has never used does not matter. */
    if (find(regs, id) == regs->num && value != reset) {
        riscv_reg_error(errp, id, hart, "is 0x%" PRIx64 " on the source, but "
                        "this kernel does not have it", value);
        error_append_hint(errp, "Migrate to a host whose kernel is as new as "
                          "the one that the guest was started on.\n");
        return false;
    }
    return true;
}

void riscv_vcpu_regs_save(KVMRISCVVCPU *vcpu)
{
    const RISCVRegList *regs = &vcpu->regs;
    RISCVRegList *stream = &vcpu->stream;
    uint32_t n = 0;

    riscv_reg_list_free(stream);
    riscv_reg_list_alloc(stream, regs->num);
    for (uint32_t i = 0; i < regs->num; i++) {
        if (regs->value[i] || regs->reset[i]) {
            stream->id[n] = regs->id[i];
            stream->value[n] = regs->value[i];
            stream->reset[n++] = regs->reset[i];
        }
    }
    stream->num = n;
    vcpu->stream_mp_state = vcpu->mp_state;
}

bool riscv_vcpu_regs_load(KVMRISCVVCPU *vcpu, int hart, bool has_d,
                          Error **errp)
{
    const RISCVRegList *stream = &vcpu->stream;
    RISCVRegList *regs = &vcpu->regs;

    if (vcpu->stream_mp_state != KVM_MP_STATE_RUNNABLE &&
        vcpu->stream_mp_state != KVM_MP_STATE_STOPPED) {
        error_setg(errp, "MP state %u of hart %d is none of RISC-V",
                   vcpu->stream_mp_state, hart);
        return false;
    }
    for (uint32_t i = 0; i < stream->num; i++) {
        uint64_t id = stream->id[i];

        if (i && id <= stream->id[i - 1]) {
            riscv_reg_error(errp, id, hart, "is out of order or there twice");
            return false;
        }
        if (!check_reg(regs, id, stream->value[i], stream->reset[i], hart,
                       has_d, errp)) {
            return false;
        }
    }

    vcpu->mp_state = vcpu->stream_mp_state;
    memcpy(regs->value, regs->reset, regs->num * sizeof(uint64_t));
    for (uint32_t i = 0; i < stream->num; i++) {
        uint32_t found = find(regs, stream->id[i]);

        if (found < regs->num) {
            regs->value[found] = stream->value[i];
        }
    }
    return true;
}
