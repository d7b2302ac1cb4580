/*
 * The model of the AIA against the kernel: operations that are played on both
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_RISCV_AIA_SCRIPT_H
#define TESTS_UNIT_RISCV_AIA_SCRIPT_H

#include "vm.h"

typedef struct Shape {
    const char *name;
    uint32_t num_sources;
    uint32_t num_ids;
    uint32_t num_harts;
    uint32_t group_bits;
    uint32_t group_shift;
    uint32_t hart_bits;
    uint32_t guest_bits;
} Shape;

#define NUM_SHAPES 8
extern const Shape shapes[NUM_SHAPES];

/* What probes have found out about the host */
typedef struct Host {
    bool narrow;
    bool apart;
    bool no_guest_files;
    uint32_t max_ids;
    uint32_t guest_files[RISCV_AIA_MODEL_MAX_CPUS];
} Host;
extern Host host;

void probe_host(void);

typedef struct Op {
    enum {
        OP_GET, OP_SET, OP_HAS, OP_LINE, OP_MSI, OP_GET_SEIP, OP_PUT_SEIP,
        OP_ENTER, OP_START, OP_TAKE_FILES, OP_FREE_FILES, NUM_OP,
    } kind;
    uint32_t group;     /* of an attribute */
    uint32_t hart;
    uint32_t cpu;
    uint64_t where;     /* attribute, source, or address */
    uint64_t val;
} Op;

typedef struct Answer {
    int ret;
    uint64_t val;
} Answer;

/* The registers that a script has to have reached, all of them */
typedef enum Reached {
    DOMAINCFG, SOURCECFG, SETIP, SETIPNUM, IN_CLRIP, CLRIPNUM, SETIE, SETIENUM,
    CLRIE, CLRIENUM, SETIPNUM_LE, SETIPNUM_BE, GENMSI, TARGET,
    NUM_APLIC,
    EIDELIVERY = NUM_APLIC, EITHRESHOLD, EIP, EIE, NO_REGISTER,
} Reached;

typedef struct Script {
    GRand *rng;
    const Shape *shape;
    RISCVAIAModel *model;
    VM *vm;
    GPtrArray *owners;      /* of the files that OP_TAKE_FILES took */
    uint32_t num_ops;
    uint32_t reached[NO_REGISTER + 1][OP_HAS + 1];
    uint32_t kinds[NUM_OP];
    uint32_t errnos[EOPNOTSUPP + 1];
    struct {
        Op op;
        Answer kernel;
    } last[16];
    bool differs;
} Script;

Script *script_new(const Shape *shape, uint32_t mode, uint32_t seed);
void script_free(Script *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Script, script_free)

/*
 * Has both do it and returns the kernel's answer; after the first difference
 * nothing more is done.
 */
Answer play(Script *s, const Op *op);

Answer play_get(Script *s, uint32_t group, uint64_t attr);
Answer play_set(Script *s, uint32_t group, uint64_t attr, uint64_t val);
Answer play_enter(Script *s, uint32_t hart, uint32_t cpu);

/* Everything that tells what the AIA holds */
void play_state(Script *s);

/*
 * The rest of the state, by operations that show it: wires of inactive sources,
 * upper halves where a hart can have a hardware file, and what becomes of them
 * when it has to do without.
 */
void play_hidden_state(Script *s);

/* Where the file of a hart is to be */
uint64_t imsic_addr(const Shape *shape, uint32_t hart);

/* All of the configuration, and one of each beyond what there is */
void play_get_config(Script *s);

/* Steps of a configuration, all of it, and what there is once it is done */
void play_numbers(Script *s, uint32_t mode);
void play_address(Script *s, uint32_t attr);
void play_config(Script *s, uint32_t mode);
void play_init(Script *s);
void play_start(Script *s, uint32_t mode);

/* Random ones, see script-random.c */
static inline uint32_t below(Script *s, uint32_t n)
{
    return g_rand_int(s->rng) % n;
}

Op random_op(Script *s, bool may_enter);

/* The tests, by file */
void add_kernel_tests(void);
void add_config_tests(void);
void add_script_tests(void);

#endif
