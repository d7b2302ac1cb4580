/*
 * A model of the in-kernel AIA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Behaves as KVM_DEV_TYPE_RISCV_AIA of Linux 6.12, 7.2 and 7.3 does when it is
 * reached through its attributes, KVM_IRQ_LINE and KVM_SIGNAL_MSI, where it
 * departs from the specification too; test-model.c holds it against them.  All
 * state is open to the tests, which compare it and put it as they need it.
 *
 * A hart is named by its KVM vCPU id, which is its place in the order of
 * creation too.
 */

#ifndef TESTS_UNIT_RISCV_AIA_MODEL_H
#define TESTS_UNIT_RISCV_AIA_MODEL_H

#include "qemu/bitops.h"
#include "target/riscv/kvm/aia-state.h"

#define RISCV_AIA_MODEL_MAX_HARTS 8
/* CPUs of the host */
#define RISCV_AIA_MODEL_MAX_CPUS  2
/* Of 64 identities each. */
#define RISCV_AIA_MODEL_EI_WORDS  ((AIA_IMSIC_MAX_IDS + 1) / 64)

/* As riscv-aia= of the accelerator; the values are the kernel's. */
typedef enum RISCVAIAModelMode {
    RISCV_AIA_MODEL_EMUL    = 0,
    RISCV_AIA_MODEL_HWACCEL = 1,
    RISCV_AIA_MODEL_AUTO    = 2,
} RISCVAIAModelMode;

/* Groups of attributes, and attributes in them; the values are the kernel's. */
enum {
    RISCV_AIA_MODEL_CONFIG = 0,
    RISCV_AIA_MODEL_ADDR   = 1, /* 0: of the APLIC; 1 + n: of hart n's file */
    RISCV_AIA_MODEL_CTRL   = 2, /* 0: initialize */
    RISCV_AIA_MODEL_APLIC  = 3, /* an offset */
    RISCV_AIA_MODEL_IMSIC  = 4, /* hart << 12 | iselect */
};
enum {
    RISCV_AIA_MODEL_MODE        = 0,
    RISCV_AIA_MODEL_IDS         = 1,
    RISCV_AIA_MODEL_SOURCES     = 2,
    RISCV_AIA_MODEL_GROUP_BITS  = 3,
    RISCV_AIA_MODEL_GROUP_SHIFT = 4,
    RISCV_AIA_MODEL_HART_BITS   = 5,
    RISCV_AIA_MODEL_GUEST_BITS  = 6,
    RISCV_AIA_MODEL_NUM_CONFIG
};

/**
 * struct RISCVAIAModelShape - a guest's AIA and the host that it is on
 *
 * @num_sources: 0 where there is no APLIC in the kernel (irqchip split)
 * @mode: a RISCVAIAModelMode
 * @narrow: software files have the fault of kernels up to 7.2 at least: access
 *     is 32 bits wide
 * @apart: the kernel initializes no AIA whose group bits overlap those of harts
 *     and guest files (Linux 7.3)
 * @guest_files: hardware files that are free, on each CPU of the host
 * @no_guest_files: the host has none at all, whoever might own them, and takes
 *     no mode that would use them
 * @max_ids: the most identities and sources that the host takes; 0: no limit
 *     of its own
 */
typedef struct RISCVAIAModelShape {
    uint32_t num_sources;
    uint32_t num_ids;
    uint32_t num_harts;
    uint32_t mode;
    bool narrow;
    bool apart;
    uint32_t guest_files;
    bool no_guest_files;
    uint32_t max_ids;
} RISCVAIAModelShape;

/* @input is the level of the wire, not rectified. */
typedef struct RISCVAIAModelSource {
    uint32_t sourcecfg;
    uint32_t target;
    bool pending;
    bool enabled;
    bool input;
} RISCVAIAModelSource;

/**
 * struct RISCVAIAModelFile - the interrupt file of a hart
 *
 * @addr: where in guest physical memory
 * @hart_index: what target and genmsi know it by; follows from @addr
 * @hardware: it is a guest file of the host, else the kernel's software file
 * @cpu: of the hardware file
 * @starts: SBI has started the hart, which has not entered the guest since
 * @hvip: the external interrupt as the kernel injects it; a software file's
 *     is a matter of when the kernel last evaluated it
 * @seip: the external interrupt as the hart sees it, see riscv_aia_model_seip()
 * @seip_rises: how often @seip rose
 * @msis: how many MSIs arrived, by identity
 */
typedef struct RISCVAIAModelFile {
    uint64_t addr;
    uint32_t hart_index;
    bool hardware;
    uint32_t cpu;
    bool starts;
    bool hvip;
    bool seip;
    uint32_t seip_rises;
    uint64_t eidelivery;
    uint64_t eithreshold;
    uint64_t eip[RISCV_AIA_MODEL_EI_WORDS];
    uint64_t eie[RISCV_AIA_MODEL_EI_WORDS];
    uint32_t *msis;
} RISCVAIAModelFile;

/* The kinds of access in RISCVAIAAccess. */
typedef enum RISCVAIAModelAccess {
    RISCV_AIA_MODEL_NONE,
    RISCV_AIA_MODEL_GET_APLIC,
    RISCV_AIA_MODEL_SET_APLIC,
    RISCV_AIA_MODEL_SET_INPUT,
    RISCV_AIA_MODEL_GET_IMSIC,
    RISCV_AIA_MODEL_SET_IMSIC,
    RISCV_AIA_MODEL_SEND_MSI,
    RISCV_AIA_MODEL_WIDEN,
    RISCV_AIA_MODEL_NUM_ACCESS
} RISCVAIAModelAccess;

/**
 * struct RISCVAIAModel - one AIA
 *
 * @group_bits, @group_shift, @hart_bits, @guest_bits: of a file's address
 * @aplic_addr: where in guest physical memory
 * @access: the way to it for the code under test
 * @fresh: what that knows of it
 * @accesses: how many there were that way
 * @counts: and of each kind
 * @failed: which kind of access riscv_aia_model_fail() made fail, if it has
 * @sources: of source i at [i]; [0] is unused
 * @free_files: hardware files of each CPU of the host that nobody owns
 * @msis_taken, @msis_lost: MSIs that did and did not reach a file
 */
typedef struct RISCVAIAModel {
    RISCVAIAModelShape shape;
    uint32_t group_bits;
    uint32_t group_shift;
    uint32_t hart_bits;
    uint32_t guest_bits;
    uint64_t aplic_addr;
    bool initialized;

    RISCVAIAAccess access;
    RISCVAIAFresh fresh;
    uint32_t accesses;
    uint32_t counts[RISCV_AIA_MODEL_NUM_ACCESS];
    uint32_t fail_at;
    int fail_errno;
    RISCVAIAModelAccess failed;

    uint32_t domaincfg;
    uint32_t genmsi;
    RISCVAIAModelSource *sources;
    RISCVAIAModelFile files[RISCV_AIA_MODEL_MAX_HARTS];
    uint32_t free_files[RISCV_AIA_MODEL_MAX_CPUS];
    uint64_t msis_taken;
    uint64_t msis_lost;
} RISCVAIAModel;

/*
 * The device as created, with the kernel's defaults: sources, identities and
 * mode of @shape are not heeded.
 */
RISCVAIAModel *riscv_aia_model_create(const RISCVAIAModelShape *shape);

/*
 * The same, configured to @shape, the files of all harts in a row: until it is
 * initialized it answers with errors.
 */
RISCVAIAModel *riscv_aia_model_new(const RISCVAIAModelShape *shape);

/* The same, initialized, which is expected to work */
RISCVAIAModel *riscv_aia_model_ready(const RISCVAIAModelShape *shape);

void riscv_aia_model_free(RISCVAIAModel *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RISCVAIAModel, riscv_aia_model_free)

/*
 * Copies what the AIA holds, not the log nor what is known of it, between
 * equally many of all.
 */
void riscv_aia_model_copy(RISCVAIAModel *to, const RISCVAIAModel *from);

/*
 * KVM_HAS_DEVICE_ATTR and so on: 0 or a negative errno.  Of @val as many bits
 * are written or read as the attribute has.
 */
int riscv_aia_model_has_attr(RISCVAIAModel *m, uint32_t group, uint64_t attr);
int riscv_aia_model_get_attr(RISCVAIAModel *m, uint32_t group, uint64_t attr,
                             uint64_t *val);
int riscv_aia_model_set_attr(RISCVAIAModel *m, uint32_t group, uint64_t attr,
                             uint64_t val);

/* Some attributes by themselves */
int riscv_aia_model_init(RISCVAIAModel *m);
int riscv_aia_model_get_aplic(RISCVAIAModel *m, uint64_t offset, uint32_t *val);
int riscv_aia_model_set_aplic(RISCVAIAModel *m, uint64_t offset, uint32_t val);
int riscv_aia_model_get_imsic(RISCVAIAModel *m, uint32_t hart, uint32_t iselect,
                              uint64_t *val);
int riscv_aia_model_set_imsic(RISCVAIAModel *m, uint32_t hart, uint32_t iselect,
                              uint64_t val);

/* KVM_IRQ_LINE */
int riscv_aia_model_set_input(RISCVAIAModel *m, uint32_t source, bool level);

/* Sets the bits of sources whose wire is high. */
void riscv_aia_model_get_wires(const RISCVAIAModel *m, uint32_t *driven);

/* KVM_SIGNAL_MSI, and the same to where the file of @hart is */
int riscv_aia_model_signal_msi(RISCVAIAModel *m, uint64_t addr, uint32_t data);
int riscv_aia_model_send_msi(RISCVAIAModel *m, uint32_t hart, uint32_t id);

/*
 * KVM_RUN on a CPU of the host: where the mode asks for it, the hart gets a
 * hardware file of that CPU.  There may be none: then an auto mode goes on with
 * the software file, and hwaccel fails, with the file where it was.
 */
int riscv_aia_model_enter(RISCVAIAModel *m, uint32_t hart, uint32_t cpu,
                          Error **errp);

/* The kernel's reset of the vCPU */
void riscv_aia_model_reset_vcpu(RISCVAIAModel *m, uint32_t hart);

/* SBI's hart_start: the next entry begins with that reset. */
void riscv_aia_model_start(RISCVAIAModel *m, uint32_t hart);

/* sip through KVM_SET_ONE_REG, of which this is the external interrupt */
void riscv_aia_model_put_sip(RISCVAIAModel *m, uint32_t hart, bool seip);

/* Whether the hart sees an external interrupt. */
bool riscv_aia_model_seip(const RISCVAIAModel *m, uint32_t hart);

/* Whether access to the file is 32 bits wide, because of the kernel's fault */
bool riscv_aia_model_is_narrow(const RISCVAIAModel *m, uint32_t hart);

/* The identity that topei of the hart names, or 0. */
uint32_t riscv_aia_model_topei(const RISCVAIAModel *m, uint32_t hart);

/* To be called where a test has put state by itself. */
void riscv_aia_model_evaluate(RISCVAIAModel *m);

/* Makes the @n-th access from now fail, counted from 1; 0: none. */
void riscv_aia_model_fail(RISCVAIAModel *m, uint32_t n, int errnum);

/* Forgets which MSIs arrived. */
void riscv_aia_model_clear_log(RISCVAIAModel *m);

#endif
