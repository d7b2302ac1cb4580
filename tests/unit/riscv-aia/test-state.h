/*
 * State of an in-kernel AIA: what its tests share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_RISCV_AIA_TEST_STATE_H
#define TESTS_UNIT_RISCV_AIA_TEST_STATE_H

#include "qapi/error.h"
#include "saved.h"

#define UPPER_HALF     0xffffffff00000000ULL
#define IE             AIA_APLIC_DOMAINCFG_IE

/* target and genmsi */
#define TO(hart, id)   ((hart) << 18 | (id))

/* Accesses that are expected to work */
uint32_t get(RISCVAIAModel *m, uint32_t offset);
void put(RISCVAIAModel *m, uint32_t offset, uint32_t val);
uint64_t get_ei(RISCVAIAModel *m, uint32_t hart, uint32_t iselect);
void put_ei(RISCVAIAModel *m, uint32_t hart, uint32_t iselect, uint64_t val);
void drive(RISCVAIAModel *m, uint32_t source, bool level);

/*
 * What devices do, and what is told of it: of wires by target/riscv/kvm/aia.c;
 * of MSIs by nobody, as no device sends one before the files are loaded.
 */
void device_drives(RISCVAIAModel *m, uint32_t source, bool level);
void device_sends(RISCVAIAModel *m, uint32_t hart, uint32_t id);

/* Frees @err, whose message has to have @part in it, or both parts. */
void assert_error(Error *err, const char *part, const char *part2);

/* All that two models hold, where it is held aside; and the MSIs they had */
char *difference(const RISCVAIAModel *a, const RISCVAIAModel *b);
char *log_difference(const RISCVAIAModel *a, const RISCVAIAModel *b);
void assert_no_difference(const char *file, int line, const char *func,
                          char *why);

#define assert_same(a, b) \
    assert_no_difference(__FILE__, __LINE__, G_STRFUNC, difference(a, b))
#define assert_same_log(a, b) \
    assert_no_difference(__FILE__, __LINE__, G_STRFUNC, log_difference(a, b))

/*
 * Random states and operations, see random.c
 */

typedef struct Op {
    enum {
        OP_INPUT, OP_SOURCECFG, OP_TARGET, OP_SETIP, OP_CLRIP, OP_SETIE,
        OP_CLRIE, OP_SETIPNUM, OP_DOMAINCFG, OP_GENMSI, OP_MSI, OP_COUNT,
    } kind;
    uint32_t where;
    uint32_t val;
} Op;

static inline uint32_t below(GRand *rng, uint32_t n)
{
    return g_rand_int(rng) % n;
}

Op random_op(GRand *rng, const RISCVAIAModelShape *shape);
void apply(RISCVAIAModel *m, const Op *op);

/* One that can be reached by such operations */
void random_state(GRand *rng, RISCVAIAModel *m);

/* Goes over the wire, and is what has arrived then.  Returns the bytes. */
size_t pass_aplic(RISCVAPLICRegs *regs);
size_t pass_imsic(RISCVIMSICRegs *regs);

/* The tests, by file */
void add_model_tests(void);
void add_aplic_tests(void);
void add_fresh_tests(void);
void add_imsic_tests(void);
void add_refused_tests(void);
void add_random_tests(void);
void add_stream_tests(void);

#endif
