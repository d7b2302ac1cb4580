/*
 * Loading of the AIA, its shape and a vCPU's registers, by libFuzzer
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An input is a header, which says what the destination is like, and the
 * sections of a stream one after another, each with a footer.  They go through
 * QEMU's own VMState into the code that loads them, and behind that is the
 * model of tests/unit/riscv-aia.
 *
 * After each section:
 *  - what the loading code refused has been told why, and has changed nothing;
 *    and no AIA can hold it, or this host cannot take it over;
 *  - what was accepted is held as it was sent, and is saved again the same;
 *  - no MSI was sent but those of genmsi, of pending identities that cannot
 *    be written, and, with the last step, of sources that are to be forwarded.
 */

#include "qemu/osdep.h"
#include <linux/kvm.h>

#include "io/channel-buffer.h"
#include "migration/vmstate.h"
#include "../migration/qemu-file.h"
#include "../migration/savevm.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "target/riscv/kvm/shape.h"
#include "target/riscv/kvm/vcpu-state.h"
#include "tests/unit/riscv-aia/model.h"

#define FOOTER          QEMU_VM_SECTION_FOOTER
/* Where the model looks for a hardware file when it is to widen access */
#define WIDEN_CPU       0

/* Which sections follow */
#define WITH_APLIC      BIT(0)
#define WITH_IMSIC      BIT(1)
#define WITH_VCPU       BIT(2)
/* The AIA that is loaded has been in use. */
#define USED            BIT(3)
/* The vCPU has extension D. */
#define HAS_D           BIT(4)
#define NARROW          BIT(5)
#define WITH_SHAPE      BIT(6)

typedef struct Header {
    uint8_t flags;
    uint8_t sources;
    uint8_t ids;
    uint8_t harts;
    uint8_t mode;
    uint8_t files;
    uint8_t regs[2];
} Header;

typedef struct Input {
    const uint8_t *data;
    size_t size;
} Input;

/* As the devices and the CPU have them, see hw/intc and vcpu.c */

typedef struct APLIC {
    RISCVAPLICRegs regs;
} APLIC;

static const VMStateDescription vmstate_aplic = {
    .name = "riscv_aplic_kvm",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT(regs, APLIC, 1, vmstate_riscv_aplic_regs,
                       RISCVAPLICRegs),
        VMSTATE_END_OF_LIST()
    }
};

typedef struct IMSIC {
    uint32_t hartid;
    RISCVIMSICRegs regs;
} IMSIC;

static const VMStateDescription vmstate_imsic = {
    .name = "riscv_imsic_kvm",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32_EQUAL(hartid, IMSIC, "The hart ids must be the same."),
        VMSTATE_STRUCT(regs, IMSIC, 1, vmstate_riscv_imsic_regs,
                       RISCVIMSICRegs),
        VMSTATE_END_OF_LIST()
    }
};

typedef struct VCPU {
    KVMRISCVVCPU *kvm_vcpu;
} VCPU;

static const VMStateDescription vmstate_vcpu = {
    .name = "cpu/kvm-riscv",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT_POINTER(kvm_vcpu, VCPU, vmstate_riscv_vcpu_regs,
                               KVMRISCVVCPU),
        VMSTATE_END_OF_LIST()
    },
};

/*
 * Streams
 */

static unsigned int messages;

/* In place of libqemuutil's, which would print very many. */
int error_vprintf(const char *fmt, va_list ap)
{
    messages++;
    return vsnprintf(NULL, 0, fmt, ap);
}

int error_vprintf_unless_qmp(const char *fmt, va_list ap)
{
    return error_vprintf(fmt, ap);
}

static QEMUFile *open_file(QIOChannelBuffer **buffer, const Input *in)
{
    QEMUFile *f;

    *buffer = qio_channel_buffer_new(in ? in->size : 0);
    if (in) {
        memcpy((*buffer)->data, in->data, in->size);
        (*buffer)->usage = in->size;
    }
    f = in ? qemu_file_new_input(QIO_CHANNEL(*buffer))
           : qemu_file_new_output(QIO_CHANNEL(*buffer));
    object_unref(OBJECT(*buffer));
    return f;
}

static bool load_state(QEMUFile *f, const VMStateDescription *vmsd,
                       void *opaque)
{
    Error *err = NULL;
    int ret;

#if QEMU_VERSION_MAJOR > 10 || \
    (QEMU_VERSION_MAJOR == 10 && QEMU_VERSION_MINOR >= 2)
    ret = vmstate_load_state(f, vmsd, opaque, vmsd->version_id, &err);
#else
    ret = vmstate_load_state(f, vmsd, opaque, vmsd->version_id);
#endif
    messages += err != NULL;
    error_free(err);
    return ret == 0;
}

static void save_state(QEMUFile *f, const VMStateDescription *vmsd,
                       void *opaque)
{
    g_assert_cmpint(vmstate_save_state_v(f, vmsd, opaque, NULL,
                                         vmsd->version_id, &error_abort),
                    ==, 0);
    g_assert_cmpint(qemu_fflush(f), ==, 0);
}

/* What is left of the input begins with @vmsd, which saves it the same. */
static void take_saved(Input *in, const VMStateDescription *vmsd, void *opaque)
{
    QIOChannelBuffer *buffer;
    QEMUFile *f = open_file(&buffer, NULL);

    save_state(f, vmsd, opaque);
    g_assert_cmpuint(buffer->usage, <, in->size);
    g_assert(!memcmp(buffer->data, in->data, buffer->usage));
    in->data += buffer->usage + 1;
    in->size -= buffer->usage + 1;
    qemu_fclose(f);
}

/* Reads a section and the footer that savevm.c would look for. */
static bool read_section(QEMUFile *f, Input *in,
                         const VMStateDescription *vmsd, void *opaque)
{
    if (!load_state(f, vmsd, opaque) || qemu_get_byte(f) != FOOTER) {
        return false;
    }
    take_saved(in, vmsd, opaque);
    return true;
}

/*
 * The destination
 */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8 ^ *state << 8;
}

static bool is_narrow(const RISCVAIAModel *m, uint32_t hart)
{
    return m->shape.narrow && !m->files[hart].hardware;
}

/* All that a guest may have left behind */
static void use(RISCVAIAModel *m, uint32_t seed)
{
    m->domaincfg = seed & 1 ? AIA_APLIC_DOMAINCFG_IE : 0;
    for (uint32_t source = 1; source <= m->shape.num_sources; source++) {
        uint32_t word = next_random(&seed);

        m->sources[source] = (RISCVAIAModelSource) {
            .sourcecfg = extract32(word, 0, 3),
            .pending = extract32(word, 3, 1),
            .enabled = extract32(word, 4, 1),
            .input = extract32(word, 5, 1),
            .target = next_random(&seed) & AIA_APLIC_TARGET_MASK,
        };
    }
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        RISCVAIAModelFile *file = &m->files[hart];
        uint64_t mask = ~1ULL;

        if (next_random(&seed) & 1) {
            riscv_aia_model_enter(m, hart, hart % 2, NULL);
        }
        file->eidelivery = next_random(&seed) & 1;
        file->eithreshold = next_random(&seed) & AIA_IMSIC_MAX_IDS;
        for (uint32_t w = 0; w < (m->shape.num_ids + 1) / 64; w++) {
            file->eip[w] = next_random(&seed) | (uint64_t)next_random(&seed)
                           << 32;
            file->eip[w] &= mask;
            if (m->shape.mode == RISCV_AIA_MODEL_EMUL && m->shape.narrow) {
                mask = extract64(mask, 0, 32);
            }
            file->eie[w] = next_random(&seed) | (uint64_t)next_random(&seed)
                           << 32;
            file->eie[w] &= mask;
            mask = UINT64_MAX;
        }
    }
    riscv_aia_model_evaluate(m);
    riscv_aia_model_clear_log(m);
}

static RISCVAIAModel *new_model(const RISCVAIAModelShape *shape)
{
    RISCVAIAModel *m = riscv_aia_model_new(shape);

    g_assert_cmpint(riscv_aia_model_init(m), ==, 0);
    return m;
}

static RISCVAIAModel *destination(const Header *h)
{
    static const uint32_t sources[] = { 1, 31, 32, 33, 63, 96, 128, 1023 };
    static const uint32_t ids[] = { 63, 127, 255, 2047 };
    RISCVAIAModelShape shape = {
        .num_sources = sources[h->sources % ARRAY_SIZE(sources)],
        .num_ids = ids[h->ids % ARRAY_SIZE(ids)],
        .num_harts = 1 + h->harts % 4,
        .mode = h->mode % 3,
        .narrow = h->flags & NARROW,
        .guest_files = h->files % 6,
    };
    RISCVAIAModel *m;

    /* The kernel has none such. */
    shape.num_sources = MIN(shape.num_sources, shape.num_ids);
    m = new_model(&shape);
    if (h->flags & USED) {
        use(m, h->flags + h->mode * 3 + h->files * 7);
    }
    return m;
}

/* Another with the same in it, to compare with */
static RISCVAIAModel *copy_model(const RISCVAIAModel *m)
{
    RISCVAIAModel *copy = new_model(&m->shape);

    riscv_aia_model_copy(copy, m);
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        memcpy(copy->files[hart].msis, m->files[hart].msis,
               (m->shape.num_ids + 1) * sizeof(uint32_t));
    }
    copy->msis_taken = m->msis_taken;
    copy->msis_lost = m->msis_lost;
    return copy;
}

/*
 * What is to be there afterwards.  Of the state that is expected, riscv_aia_
 * model_send_msi() is the only operation.
 */

static void expect_sources(const RISCVAIAModel *e, const RISCVAIAModel *m)
{
    g_assert_cmphex(m->domaincfg, ==, e->domaincfg);
    g_assert_cmphex(m->genmsi, ==, e->genmsi);
    for (uint32_t i = 1; i <= e->shape.num_sources; i++) {
        g_assert_cmphex(m->sources[i].sourcecfg, ==, e->sources[i].sourcecfg);
        g_assert_cmphex(m->sources[i].target, ==, e->sources[i].target);
        g_assert_cmpint(m->sources[i].pending, ==, e->sources[i].pending);
        g_assert_cmpint(m->sources[i].enabled, ==, e->sources[i].enabled);
        g_assert_cmpint(m->sources[i].input, ==, e->sources[i].input);
    }
}

static void expect_files(const RISCVAIAModel *e, const RISCVAIAModel *m)
{
    g_assert_cmpuint(m->msis_lost, ==, e->msis_lost);
    for (uint32_t hart = 0; hart < e->shape.num_harts; hart++) {
        const RISCVAIAModelFile *f = &m->files[hart], *g = &e->files[hart];

        g_assert_cmphex(f->eidelivery, ==, g->eidelivery);
        g_assert_cmphex(f->eithreshold, ==, g->eithreshold);
        g_assert(!memcmp(f->eip, g->eip, sizeof(f->eip)));
        g_assert(!memcmp(f->eie, g->eie, sizeof(f->eie)));
        g_assert(!memcmp(f->msis, g->msis,
                         (e->shape.num_ids + 1) * sizeof(uint32_t)));
    }
}

static void expect(const RISCVAIAModel *e, const RISCVAIAModel *m)
{
    expect_sources(e, m);
    expect_files(e, m);
}

static void send_msi(RISCVAIAModel *e, uint32_t msi)
{
    uint32_t hart = extract32(msi, 18, 14);

    if (extract32(msi, 12, 6)) {
        e->msis_lost++;
    } else {
        riscv_aia_model_send_msi(e, hart, msi & AIA_APLIC_EIID_MASK);
    }
}

static bool source_bit(const uint32_t *words, uint32_t source)
{
    return extract32(words[source / 32], source % 32, 1);
}

/* genmsi is sent, the domain is left off. */
static void load_expected_aplic(RISCVAIAModel *e, const RISCVAPLICRegs *regs)
{
    e->domaincfg = 0;
    e->genmsi = regs->genmsi;
    send_msi(e, regs->genmsi);
    for (uint32_t source = 1; source <= e->shape.num_sources; source++) {
        e->sources[source] = (RISCVAIAModelSource) {
            .sourcecfg = regs->sourcecfg[source - 1],
            .target = regs->target[source - 1],
            .pending = source_bit(regs->pending, source),
            .enabled = source_bit(regs->enabled, source),
            .input = source_bit(regs->input, source),
        };
    }
}

/* What is due is forwarded. */
static void enable_expected_aplic(RISCVAIAModel *e, uint32_t domaincfg)
{
    e->domaincfg = domaincfg & AIA_APLIC_DOMAINCFG_IE;
    for (uint32_t source = 1; source <= e->shape.num_sources; source++) {
        RISCVAIAModelSource *s = &e->sources[source];

        if (e->domaincfg && s->pending && s->enabled) {
            s->pending = false;
            send_msi(e, s->target);
        }
    }
}

static uint64_t both_halves(const uint32_t *words, uint32_t w)
{
    return words[2 * w] | (uint64_t)words[2 * w + 1] << 32;
}

/* @narrow: upper halves can only be added to, by MSIs */
static void load_expected_file(RISCVAIAModel *e, uint32_t hart,
                               const RISCVIMSICRegs *regs, bool narrow)
{
    RISCVAIAModelFile *file = &e->files[hart];

    file->eidelivery = regs->eidelivery;
    file->eithreshold = regs->eithreshold;
    for (uint32_t w = 0; w < regs->num_words / 2; w++) {
        uint64_t eip = both_halves(regs->eip, w);

        file->eie[w] = both_halves(regs->eie, w);
        if (!narrow) {
            file->eip[w] = eip;
            continue;
        }
        file->eip[w] = deposit64(file->eip[w], 0, 32, eip);
        for (uint32_t bit = 32; bit < 64; bit++) {
            if (extract64(eip, bit, 1)) {
                riscv_aia_model_send_msi(e, hart, w * 64 + bit);
            }
        }
    }
}

/*
 * APLIC
 */

static void get_wires(const RISCVAIAModel *m, uint32_t *driven)
{
    for (uint32_t source = 1; source <= m->shape.num_sources; source++) {
        driven[source / 32] |= (uint32_t)m->sources[source].input
                               << (source % 32);
    }
}

/* Whether @m, in which @regs were loaded, saves them so. */
static bool saves_aplic(RISCVAIAModel *m, const RISCVAPLICRegs *regs)
{
    uint32_t driven[DIV_ROUND_UP(AIA_APLIC_MAX_SOURCES + 1, 32)] = { };
    size_t per_source = regs->num_sources * sizeof(uint32_t);
    size_t per_word = regs->num_words * sizeof(uint32_t);
    RISCVAPLICRegs saved;
    bool same;

    get_wires(m, driven);
    riscv_aplic_regs_init(&saved, m->shape.num_sources);
    riscv_aplic_regs_save(&m->access, &saved, driven, &error_abort);
    /* It is off yet. */
    same = (saved.domaincfg | (regs->domaincfg & AIA_APLIC_DOMAINCFG_IE)) ==
           regs->domaincfg &&
           saved.genmsi == regs->genmsi &&
           !memcmp(saved.sourcecfg, regs->sourcecfg, per_source) &&
           !memcmp(saved.target, regs->target, per_source) &&
           !memcmp(saved.pending, regs->pending, per_word) &&
           !memcmp(saved.enabled, regs->enabled, per_word) &&
           !memcmp(saved.input, regs->input, per_word);
    riscv_aplic_regs_free(&saved);
    return same;
}

static void assert_no_aplic_holds(const RISCVAIAModel *m,
                                  const RISCVAPLICRegs *regs)
{
    g_autoptr(RISCVAIAModel) any = new_model(&m->shape);

    riscv_aplic_regs_load(&any->access, regs, &error_abort);
    g_assert(!saves_aplic(any, regs));
}

static bool load_aplic(RISCVAIAModel *m, RISCVAIAModel *e, APLIC *aplic,
                       QEMUFile *f, Input *in)
{
    Error *err = NULL;

    if (!read_section(f, in, &vmstate_aplic, aplic)) {
        return false;
    }
    if (!riscv_aplic_regs_check(&aplic->regs, &err)) {
        g_assert_nonnull(err);
        error_free(err);
        g_assert_cmpuint(m->accesses, ==, 0);
        assert_no_aplic_holds(m, &aplic->regs);
        return false;
    }
    riscv_aplic_regs_load(&m->access, &aplic->regs, &error_abort);
    load_expected_aplic(e, &aplic->regs);
    expect(e, m);
    g_assert(saves_aplic(m, &aplic->regs));
    return true;
}

/*
 * IMSIC
 */

/* The same, of a file whose upper halves cannot be read where it is narrow. */
static bool saves_file(RISCVAIAModel *m, uint32_t hart,
                       const RISCVIMSICRegs *regs)
{
    RISCVIMSICRegs saved;
    Error *err = NULL;
    bool same;

    riscv_imsic_regs_init(&saved, m->shape.num_ids);
    if (riscv_imsic_regs_save(&m->access, hart, &saved, &err)) {
        same = saved.eidelivery == regs->eidelivery &&
               saved.eithreshold == regs->eithreshold;
        for (uint32_t w = 0; w < regs->num_words; w++) {
            bool seen = !(w % 2) || !is_narrow(m, hart);

            same = same && saved.eip[w] == (seen ? regs->eip[w] : 0) &&
                   saved.eie[w] == (seen ? regs->eie[w] : 0);
        }
    } else {
        g_assert_nonnull(err);
        error_free(err);
        g_assert(is_narrow(m, hart));
        g_assert_cmpint(m->shape.mode, !=, RISCV_AIA_MODEL_EMUL);
        g_assert_cmpuint(m->free_files[WIDEN_CPU], ==, 0);
        same = true;
    }
    riscv_imsic_regs_free(&saved);
    return same;
}

static void assert_no_file_holds(const RISCVAIAModel *m,
                                 const RISCVIMSICRegs *regs)
{
    RISCVAIAModelShape wide = m->shape;
    g_autoptr(RISCVAIAModel) any = NULL;

    wide.narrow = false;
    any = new_model(&wide);
    riscv_imsic_regs_load(&any->access, 0, regs, false, &error_abort);
    g_assert(!saves_file(any, 0, regs));
}

/* There is a reason, and nothing came of it. */
static void check_not_taken_over(RISCVAIAModel *m, uint32_t hart,
                                 const RISCVIMSICRegs *regs, bool clear)
{
    uint32_t upper = 0;

    for (uint32_t w = 1; w < regs->num_words; w += 2) {
        upper |= regs->eie[w];
    }
    g_assert(is_narrow(m, hart));
    if (m->shape.mode == RISCV_AIA_MODEL_EMUL) {
        g_assert_cmphex(upper, !=, 0);
    } else {
        g_assert(upper || clear);
        g_assert_cmpuint(m->free_files[WIDEN_CPU], ==, 0);
    }
}

static bool load_file(RISCVAIAModel *m, RISCVAIAModel *e, IMSIC *imsic,
                      bool clear, QEMUFile *f, Input *in)
{
    uint32_t hart = imsic->hartid, accesses = m->accesses;
    Error *err = NULL;

    if (!read_section(f, in, &vmstate_imsic, imsic)) {
        return false;
    }
    if (!riscv_imsic_regs_check(&imsic->regs, hart, &err)) {
        g_assert_nonnull(err);
        error_free(err);
        g_assert_cmpuint(m->accesses, ==, accesses);
        assert_no_file_holds(m, &imsic->regs);
        return false;
    }
    if (!riscv_imsic_regs_load(&m->access, hart, &imsic->regs, clear, &err)) {
        g_assert_nonnull(err);
        error_free(err);
        check_not_taken_over(m, hart, &imsic->regs, clear);
        expect(e, m);
        return false;
    }
    load_expected_file(e, hart, &imsic->regs, is_narrow(m, hart));
    expect(e, m);
    g_assert(saves_file(m, hart, &imsic->regs));
    return true;
}

/* sip, and what has to come after it */
static void evaluate(RISCVAIAModel *m)
{
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        riscv_aia_model_put_sip(m, hart, false);
        riscv_imsic_regs_evaluate(&m->access, hart, &error_abort);
        g_assert_cmpint(riscv_aia_model_seip(m, hart), ==,
                        m->files[hart].eidelivery &&
                        riscv_aia_model_topei(m, hart));
    }
}

static void load_aia(const Header *h, QEMUFile *f, Input *in)
{
    g_autoptr(RISCVAIAModel) m = destination(h);
    g_autoptr(RISCVAIAModel) e = copy_model(m);
    APLIC aplic = { };
    bool ok = true;

    riscv_aplic_regs_init(&aplic.regs, m->shape.num_sources);
    if (h->flags & WITH_APLIC) {
        ok = load_aplic(m, e, &aplic, f, in);
    }
    for (uint32_t hart = 0; h->flags & WITH_IMSIC &&
                            hart < m->shape.num_harts && ok; hart++) {
        IMSIC imsic = { .hartid = hart };

        riscv_imsic_regs_init(&imsic.regs, m->shape.num_ids);
        ok = load_file(m, e, &imsic,
                       (aplic.regs.genmsi & 32) || (h->flags & USED), f, in);
        riscv_imsic_regs_free(&imsic.regs);
    }
    if (ok) {
        evaluate(m);
    }
    if (ok && h->flags & WITH_APLIC) {
        riscv_aplic_regs_enable(&m->access, &aplic.regs, &error_abort);
        enable_expected_aplic(e, aplic.regs.domaincfg);
    }
    expect(e, m);
    riscv_aplic_regs_free(&aplic.regs);
}

/*
 * vCPU
 */

#define REG(size, type, index) \
    (KVM_REG_RISCV | KVM_REG_SIZE_##size | KVM_REG_RISCV_##type | (index))
#define AIA_CSR(name) REG(U64, CSR, KVM_REG_RISCV_CSR_AIA | \
                          KVM_REG_RISCV_CSR_AIA_REG(name))
#define STATEEN(name) REG(U64, CSR, KVM_REG_RISCV_CSR_SMSTATEEN | \
                          KVM_REG_RISCV_CSR_SMSTATEEN_REG(name))
#define STA(name)     REG(U64, SBI_STATE, KVM_REG_RISCV_SBI_STA | \
                          KVM_REG_RISCV_SBI_STA_REG(name))

/* What no kernel has */
#define NO_MP_STATE 1000

/* What kernels list and kvm-cpu.c does not carry, as of Linux 7.2 */
static const uint64_t listed[] = {
    REG(U32, FP_F, KVM_REG_RISCV_FP_F_REG(fcsr)),
    REG(U32, FP_D, KVM_REG_RISCV_FP_D_REG(fcsr)),
    REG(U64, CORE, KVM_REG_RISCV_CORE_REG(mode)),
    AIA_CSR(siselect), AIA_CSR(iprio1), AIA_CSR(iprio2), AIA_CSR(sieh),
    AIA_CSR(siph), AIA_CSR(iprio1h), AIA_CSR(iprio2h),
    STATEEN(sstateen0),
    REG(U64, VECTOR, KVM_REG_RISCV_VECTOR_CSR_REG(vcsr)),
    STA(shmem_lo), STA(shmem_hi),
    /* SBI FWFT is newer than these headers. */
    REG(U64, SBI_STATE, 1 << KVM_REG_RISCV_SUBTYPE_SHIFT),
    REG(U64, SBI_STATE, 1 << KVM_REG_RISCV_SUBTYPE_SHIFT | 1),
};

static uint32_t find_reg(const RISCVRegList *list, uint64_t id)
{
    uint32_t i = 0;

    while (i < list->num && list->id[i] != id) {
        i++;
    }
    return i;
}

/* What a destination can take, told in another way than in vcpu-state.c */
static bool can_take(const KVMRISCVVCPU *vcpu, bool has_d)
{
    const RISCVRegList *stream = &vcpu->stream, *regs = &vcpu->regs;

    if (vcpu->stream_mp_state != KVM_MP_STATE_RUNNABLE &&
        vcpu->stream_mp_state != KVM_MP_STATE_STOPPED) {
        return false;
    }
    for (uint32_t i = 0; i < stream->num; i++) {
        uint64_t id = stream->id[i];
        uint64_t any = stream->value[i] | stream->reset[i];
        uint32_t size = extract64(id, 52, 4);

        if (extract64(id, 56, 8) != 0x80 || extract64(id, 32, 20) ||
            size > 3 || (size < 3 && any >> (8 << size)) ||
            (i && id <= stream->id[i - 1])) {
            return false;
        }
        if (find_reg(regs, id) < regs->num) {
            continue;
        }
        if (stream->value[i] != stream->reset[i] ||
            riscv_reg_is_config(id) || riscv_reg_is_carried(id, has_d)) {
            return false;
        }
        for (size = 0; size < 16; size++) {
            if (find_reg(regs, deposit64(id, 52, 4, size)) < regs->num) {
                return false;
            }
        }
    }
    return true;
}

static bool has_only(const RISCVRegList *regs, const RISCVRegList *stream)
{
    for (uint32_t i = 0; i < regs->num; i++) {
        uint32_t sent = find_reg(stream, regs->id[i]);

        if (regs->reset[i] != i || regs->value[i] !=
            (sent < stream->num ? stream->value[sent] : i)) {
            return false;
        }
    }
    return true;
}

static void load_vcpu(const Header *h, QEMUFile *f, Input *in)
{
    static const RISCVRegList nothing;
    VCPU cpu = { .kvm_vcpu = g_new0(KVMRISCVVCPU, 1) };
    KVMRISCVVCPU *vcpu = cpu.kvm_vcpu;
    RISCVRegList *regs = &vcpu->regs;
    RISCVRegList *stream = &vcpu->stream;
    bool has_d = h->flags & HAS_D;
    Error *err = NULL;

    vcpu->mp_state = NO_MP_STATE;
    riscv_reg_list_alloc(regs, ARRAY_SIZE(listed));
    regs->num = 0;
    for (uint32_t i = 0; i < ARRAY_SIZE(listed); i++) {
        if (extract32(h->regs[i / 8], i % 8, 1) &&
            !riscv_reg_is_carried(listed[i], has_d)) {
            regs->id[regs->num] = listed[i];
            regs->value[regs->num] = regs->reset[regs->num] = regs->num;
            regs->num++;
        }
    }

    if (read_section(f, in, &vmstate_vcpu, &cpu)) {
        if (riscv_vcpu_regs_load(vcpu, 0, has_d, &err)) {
            g_assert(can_take(vcpu, has_d));
            g_assert(has_only(regs, stream));
            g_assert(vcpu->mp_state == vcpu->stream_mp_state);
        } else {
            g_assert_nonnull(err);
            error_free(err);
            g_assert(!can_take(vcpu, has_d));
            g_assert(has_only(regs, &nothing));
            g_assert(vcpu->mp_state == NO_MP_STATE);
        }
    } else {
        g_assert(vcpu->mp_state == NO_MP_STATE);
    }
    riscv_reg_list_free(stream);
    riscv_reg_list_free(regs);
    g_free(vcpu);
}

/*
 * Shape
 */

static const VMStateDescription *vmstate_shape;
static void *shape_opaque;

/* All of savevm.c that the shape calls; the linker puts this in its place. */
int __wrap_vmstate_register_with_alias_id(VMStateIf *obj, uint32_t instance_id,
                                          const VMStateDescription *vmsd,
                                          void *opaque, int alias_id,
                                          int required_for_version,
                                          Error **errp)
{
    vmstate_shape = vmsd;
    shape_opaque = opaque;
    return 0;
}

#define CONFIG_BASE 0x8030000001000000ULL
#define ISA_BASE    0x8030000007000000ULL
#define SBI_BASE    0x8030000008000000ULL
#define VLENB       0x8030000009000004ULL
#define SATP_MODE   9
#define TOLD_AND_ON (RISCV_EXT_ON | RISCV_EXT_TOLD)

/* Of the destination: with a, zicbom, zbb and v; without zba and svvptc */
static uint64_t config_id[] = {
    CONFIG_BASE + 1, CONFIG_BASE + 3, CONFIG_BASE + 6, ISA_BASE,
    ISA_BASE + 11, ISA_BASE + 13, ISA_BASE + 15, ISA_BASE + 17, ISA_BASE + 66,
    SBI_BASE + 1, VLENB,
};
static uint64_t config_value[] = {
    64, 0x1234, SATP_MODE, TOLD_AND_ON, TOLD_AND_ON, TOLD_AND_ON, TOLD_AND_ON,
    0, 0, TOLD_AND_ON, 16,
};
static RISCVHartConfig host_config = {
    .num = ARRAY_SIZE(config_id), .id = config_id, .value = config_value,
};

static bool update_shape(RISCVAIAShape *shape, Error **errp)
{
    shape->config = host_config;
    shape->satp_mode = SATP_MODE;
    return true;
}

static bool has_listed_reg(uint64_t id)
{
    const RISCVRegList all = {
        .num = ARRAY_SIZE(listed), .id = (uint64_t *)listed,
    };

    return find_reg(&all, id) < all.num;
}

static uint64_t satp_mode(void)
{
    return SATP_MODE;
}

static bool cpu_has_zaamo(const char *name)
{
    return g_str_equal(name, "zaamo");
}

static bool has_property(const char *name)
{
    return name[0] == 'z';
}

static bool switch_off_even(uint64_t id)
{
    return !(id & 1);
}

static void compare_config(const RISCVHartConfig *source, GString *all,
                           GString *advice, GString *rest)
{
    static const RISCVHartConfigHost host = {
        .config = &host_config,
        .cpu_has = cpu_has_zaamo,
        .has_property = has_property,
        .switch_off = switch_off_even,
    };

    riscv_hart_config_compare(source, &host, all, advice, rest);
}

static void shape_loaded(const RISCVAIAShape *source)
{
    RISCVHartConfig guest = { };

    riscv_hart_config_take(&guest, &source->config, &host_config);
    g_assert(riscv_hart_config_check(&guest, NULL));
    for (uint32_t i = 0; i < host_config.num; i++) {
        uint64_t value;

        g_assert(riscv_hart_config_get(&guest, host_config.id[i], &value));
    }
    riscv_hart_config_free(&guest);
}

static const RISCVAIAShapeOps shape_ops = {
    .update = update_shape,
    .has_reg = has_listed_reg,
    .satp_mode = satp_mode,
    .compare_config = compare_config,
    .loaded = shape_loaded,
};

/* Offsets of what may differ in the section of docs/wire-format.md */
#define SHAPE_MODE        4
#define SHAPE_GROUP_BITS  16
#define SHAPE_GROUP_SHIFT 20
#define SHAPE_NUM_HARTS   48

/* Without the tables: whether a guest with this register can run here. */
static void check_config(uint64_t id, uint64_t value)
{
    uint64_t ours = 0;
    bool has = riscv_hart_config_get(&host_config, id, &ours);

    switch (id) {
    case CONFIG_BASE + 1:
    case VLENB:
        /* As long as the guest was not told of the extension, which differs. */
        break;
    case CONFIG_BASE + 3:
        g_assert(value == ours);
        break;
    case CONFIG_BASE + 6:
        g_assert(value <= ours);
        break;
    default:
        if ((value & RISCV_EXT_TOLD) && (id & ~0xffffULL) == ISA_BASE &&
            id != ISA_BASE + 62 && id != ISA_BASE + 65 &&
            id != ISA_BASE + 69) {
            g_assert(has && (ours & RISCV_EXT_ON));
        }
    }
}

/* Of the section that was accepted, what must be equal is equal to @ours. */
static void check_shape(const uint8_t *sent, const uint8_t *ours)
{
    size_t size = SHAPE_NUM_HARTS + 4 + 16 * ldl_be_p(ours + SHAPE_NUM_HARTS);
    g_autofree uint8_t *same = g_memdup2(sent, size);
    uint32_t num_used = ldl_be_p(sent + size), num_config;

    memcpy(same + SHAPE_MODE, ours + SHAPE_MODE, 4);
    if (!ldl_be_p(sent + SHAPE_GROUP_BITS)) {
        memcpy(same + SHAPE_GROUP_SHIFT, ours + SHAPE_GROUP_SHIFT, 4);
    }
    g_assert(!memcmp(same, ours, size));
    sent += size + 4;
    for (uint32_t i = 0; i < num_used; i++) {
        g_assert(has_listed_reg(ldq_be_p(sent + 8 * i)));
    }
    sent += 8 * num_used;
    g_assert_cmpuint(ldq_be_p(sent), <=, SATP_MODE);
    num_config = ldl_be_p(sent + 8);
    sent += 12;
    for (uint32_t i = 0; i < num_config; i++) {
        check_config(ldq_be_p(sent + 8 * i),
                     ldq_be_p(sent + 8 * (num_config + i)));
    }
}

static void load_shape(const Header *h, QEMUFile *f, const Input *in)
{
    RISCVAIAShape shape = {
        .split = extract32(h->mode, 2, 1),
        .mode = h->mode % 3,
        .num_sources = h->sources,
        .num_ids = h->ids * 64 + 63,
        .group_bits = h->files & 1,
        .group_shift = 24,
        .hart_bits = h->files,
        .guest_bits = 3,
        .aplic_addr = 0xd000000,
        .timebase = 10000000,
        .num_harts = 1 + h->harts % 4,
    };
    uint64_t hart_id[4], imsic_addr[4];
    QIOChannelBuffer *buffer;
    QEMUFile *ours = open_file(&buffer, NULL);

    for (uint32_t i = 0; i < shape.num_harts; i++) {
        hart_id[i] = i;
        imsic_addr[i] = 0x28000000 + i * 0x1000;
    }
    shape.hart_id = hart_id;
    shape.imsic_addr = imsic_addr;
    riscv_aia_shape_register(&shape, &shape_ops);
    save_state(ours, vmstate_shape, shape_opaque);

    messages = 0;
    if (load_state(f, vmstate_shape, shape_opaque)) {
        check_shape(in->data, buffer->data);
    } else {
        /* What VMState itself refuses is for savevm.c to tell. */
        g_assert(messages || qemu_file_get_error(f));
        g_assert(in->size < buffer->usage ||
                 memcmp(in->data, buffer->data, buffer->usage));
    }
    qemu_fclose(ours);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    module_call_init(MODULE_INIT_QOM);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const Header *h = (const Header *)data;
    Input in = { data + sizeof(*h), size - sizeof(*h) };
    QIOChannelBuffer *buffer;
    QEMUFile *f;

    if (size <= sizeof(*h)) {
        return 0;
    }
    f = open_file(&buffer, &in);
    if (h->flags & WITH_SHAPE) {
        load_shape(h, f, &in);
    } else if (h->flags & WITH_VCPU) {
        load_vcpu(h, f, &in);
    } else {
        load_aia(h, f, &in);
    }
    qemu_fclose(f);
    return 0;
}
