/*
 * A model of the in-kernel AIA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Behaves as KVM_DEV_TYPE_RISCV_AIA of Linux 6.12 and 7.2 does when it is
 * reached through its attributes, KVM_IRQ_LINE and KVM_SIGNAL_MSI, where it
 * departs from the specification too.  All state is open to the tests, which
 * compare it and put it as they need it.
 *
 * A hart's KVM vCPU id and its index in target and genmsi are the same here.
 */

#ifndef TESTS_UNIT_RISCV_AIA_MODEL_H
#define TESTS_UNIT_RISCV_AIA_MODEL_H

#include "qemu/bitops.h"
#include "target/riscv/kvm/aia-state.h"

#define RISCV_AIA_MODEL_MAX_HARTS 8
/* Of 64 identities each. */
#define RISCV_AIA_MODEL_EI_WORDS  ((AIA_IMSIC_MAX_IDS + 1) / 64)

/* As riscv-aia= of the accelerator; the values are the kernel's. */
typedef enum RISCVAIAModelMode {
    RISCV_AIA_MODEL_EMUL    = 0,
    RISCV_AIA_MODEL_HWACCEL = 1,
    RISCV_AIA_MODEL_AUTO    = 2,
} RISCVAIAModelMode;

/**
 * struct RISCVAIAModelShape - what is fixed when the AIA is initialized
 *
 * @num_sources: 0 where there is no APLIC in the kernel (irqchip split)
 * @narrow: software files have the fault of kernels up to 7.2 at least: access
 *     is 32 bits wide
 * @guest_files: hardware files of the host that are free
 */
typedef struct RISCVAIAModelShape {
    uint32_t num_sources;
    uint32_t num_ids;
    uint32_t num_harts;
    RISCVAIAModelMode mode;
    bool narrow;
    uint32_t guest_files;
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
 * @hardware: it is a guest file of the host, else the kernel's software file
 * @hvip: the external interrupt as the kernel injects it; a software file's
 *     is a matter of when the kernel last evaluated it
 * @seip: the external interrupt as the hart sees it, see riscv_aia_model_seip()
 * @seip_rises: how often @seip rose
 * @msis: how many MSIs arrived, by identity
 */
typedef struct RISCVAIAModelFile {
    bool hardware;
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
} RISCVAIAModelAccess;

/**
 * struct RISCVAIAModel - one AIA
 *
 * @access: the way to it for the code under test
 * @accesses: how many there were that way
 * @failed: which kind of access riscv_aia_model_fail() made fail, if it has
 * @sources: of source i at [i]; [0] is unused
 * @free_files: hardware files that no hart of this model owns
 * @msis_taken, @msis_lost: MSIs that did and did not reach a file
 */
typedef struct RISCVAIAModel {
    RISCVAIAModelShape shape;
    bool initialized;

    RISCVAIAAccess access;
    uint32_t accesses;
    uint32_t fail_at;
    int fail_errno;
    RISCVAIAModelAccess failed;

    uint32_t domaincfg;
    uint32_t genmsi;
    RISCVAIAModelSource *sources;
    RISCVAIAModelFile files[RISCV_AIA_MODEL_MAX_HARTS];
    uint32_t free_files;
    uint64_t msis_taken;
    uint64_t msis_lost;
} RISCVAIAModel;

/* The device as created: until it is initialized it answers with errors. */
RISCVAIAModel *riscv_aia_model_new(const RISCVAIAModelShape *shape);
void riscv_aia_model_free(RISCVAIAModel *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RISCVAIAModel, riscv_aia_model_free)

/* KVM_DEV_RISCV_AIA_CTRL_INIT */
int riscv_aia_model_init(RISCVAIAModel *m);

/* Copies what the AIA holds, not the log, between equally many of all. */
void riscv_aia_model_copy(RISCVAIAModel *to, const RISCVAIAModel *from);

/* Attributes, KVM_IRQ_LINE, KVM_SIGNAL_MSI: 0 or a negative errno */
int riscv_aia_model_get_aplic(RISCVAIAModel *m, uint32_t offset, uint32_t *val);
int riscv_aia_model_set_aplic(RISCVAIAModel *m, uint32_t offset, uint32_t val);
int riscv_aia_model_get_imsic(RISCVAIAModel *m, uint32_t hart, uint32_t iselect,
                              uint64_t *val);
int riscv_aia_model_set_imsic(RISCVAIAModel *m, uint32_t hart, uint32_t iselect,
                              uint64_t val);
int riscv_aia_model_set_input(RISCVAIAModel *m, uint32_t source, bool level);
int riscv_aia_model_send_msi(RISCVAIAModel *m, uint32_t hart, uint32_t id);

/* KVM_RUN: where the mode asks for one, the hart gets a hardware file. */
int riscv_aia_model_enter(RISCVAIAModel *m, uint32_t hart, Error **errp);

/* The hart moved to a CPU that has no free file: back to the software file. */
void riscv_aia_model_release(RISCVAIAModel *m, uint32_t hart);

/* The kernel's reset of the vCPU */
void riscv_aia_model_reset_vcpu(RISCVAIAModel *m, uint32_t hart);

/* sip through KVM_SET_ONE_REG, of which this is the external interrupt */
void riscv_aia_model_put_sip(RISCVAIAModel *m, uint32_t hart, bool seip);

/* Whether the hart sees an external interrupt. */
bool riscv_aia_model_seip(const RISCVAIAModel *m, uint32_t hart);

/* The identity that topei of the hart names, or 0. */
uint32_t riscv_aia_model_topei(const RISCVAIAModel *m, uint32_t hart);

/* To be called where a test has put state by itself. */
void riscv_aia_model_evaluate(RISCVAIAModel *m);

/* Makes the @n-th access from now fail, counted from 1; 0: none. */
void riscv_aia_model_fail(RISCVAIAModel *m, uint32_t n, int errnum);

/* Forgets which MSIs arrived. */
void riscv_aia_model_clear_log(RISCVAIAModel *m);

#endif
