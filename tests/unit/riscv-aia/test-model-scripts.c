/*
 * The model of the AIA against the kernel: scripts of random operations
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "environment.h"
#include "saved.h"
#include "script.h"

#define SCRIPT_OPS     10000
#define STATE_EVERY    1000

static const char *const modes[] = { "emul", "hwaccel", "auto" };

#define SAME(a, b, field, num) \
    (!(num) || !memcmp((a)->field, (b)->field, (num) * sizeof(*(a)->field)))

static bool saved_equal(const Saved *a, const Saved *b)
{
    uint32_t sources = a->aplic.num_sources, words = a->aplic.num_words;

    if (!SAME(a, b, wires, ARRAY_SIZE(a->wires)) ||
        a->aplic.domaincfg != b->aplic.domaincfg ||
        a->aplic.genmsi != b->aplic.genmsi ||
        !SAME(&a->aplic, &b->aplic, sourcecfg, sources) ||
        !SAME(&a->aplic, &b->aplic, target, sources) ||
        !SAME(&a->aplic, &b->aplic, pending, words) ||
        !SAME(&a->aplic, &b->aplic, enabled, words) ||
        !SAME(&a->aplic, &b->aplic, input, words)) {
        return false;
    }
    for (uint32_t hart = 0; hart < a->num_harts; hart++) {
        const RISCVIMSICRegs *f = &a->imsic[hart], *g = &b->imsic[hart];

        if (f->eidelivery != g->eidelivery ||
            f->eithreshold != g->eithreshold ||
            !SAME(f, g, eip, f->num_words) || !SAME(f, g, eie, f->num_words)) {
            return false;
        }
    }
    return true;
}

/* In the order of saved.h, with the vCPUs' part played on both sides */
static bool load_played(Script *s, const Saved *saved, Error **errp)
{
    RISCVAIAModel *m = s->model;

    if (!load_aplic(m, saved, errp) || !load_files(m, saved, errp)) {
        return false;
    }
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        play(s, &(Op) { .kind = OP_PUT_SEIP, .hart = hart });
        if (!riscv_imsic_regs_evaluate(&m->access, hart, errp)) {
            return false;
        }
    }
    return !m->shape.num_sources ||
           riscv_aplic_regs_enable(&m->access, &saved->aplic, errp);
}

/* A script that did not come by all there is has shown nothing. */
static void check_reached(const Script *s)
{
    static const int errnos[] = {
        0, ENODEV, EOPNOTSUPP, EINVAL, ENOENT, ENXIO, EBUSY,
    };

    for (Reached reg = s->shape->num_sources ? 0 : NUM_APLIC;
         reg < NO_REGISTER; reg++) {
        for (int kind = OP_GET; kind <= OP_HAS; kind++) {
            if (!s->reached[reg][kind]) {
                g_error("register %d is not reached by %d", reg, kind);
            }
        }
    }
    for (int kind = 0; kind < NUM_OP; kind++) {
        if (!s->kinds[kind] &&
            (kind != OP_LINE || s->shape->num_sources) &&
            (kind != OP_START || s->shape->num_harts > 1) &&
            (kind != OP_TAKE_FILES ||
             s->model->shape.mode != RISCV_AIA_MODEL_EMUL)) {
            g_error("no operation is of kind %d", kind);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(errnos); i++) {
        if (!s->errnos[errnos[i]] &&
            (s->shape->num_sources || errnos[i] != EOPNOTSUPP)) {
            g_error("no answer is %s", g_strerror(errnos[i]));
        }
    }
    g_assert_cmpuint(s->model->msis_taken, >, 100);
    g_assert_cmpuint(s->model->msis_lost, >, 100);
}

/* A difference has been told already, and what comes of it means nothing. */
static void report(Script *s, Error *err)
{
    g_test_fail();
    if (!s->differs) {
        g_test_message("%s", error_get_pretty(err));
    }
    error_free(err);
}

/* What is saved has to be taken where it goes. */
static bool check(const Saved *saved, Error **errp)
{
    if (saved->aplic.num_sources &&
        !riscv_aplic_regs_check(&saved->aplic, errp)) {
        return false;
    }
    for (uint32_t hart = 0; hart < saved->num_harts; hart++) {
        if (!riscv_imsic_regs_check(&saved->imsic[hart], hart, errp)) {
            return false;
        }
    }
    return true;
}

static bool play_save(Script *s, Saved *saved)
{
    Error *err = NULL;

    if (s->differs || !save(s->model, saved, &err) || !check(saved, &err)) {
        report(s, err);
        return false;
    }
    return true;
}

static void play_script(const Shape *shape, uint32_t mode, uint32_t seed,
                        Saved *saved)
{
    g_autoptr(Script) s = script_new(shape, mode, seed);
    bool hardware = false;

    g_test_message("RISCV_AIA_TEST_SEED=%u", seed);

    /* Before it is initialized */
    play_config(s, mode);
    for (int n = 0; n < 200; n++) {
        Op op = random_op(s, false);

        play(s, &op);
    }
    play_start(s, mode);

    /* The software files of harts that have never run are there for long. */
    for (int n = 1; n <= SCRIPT_OPS && !s->differs; n++) {
        bool may_enter = n > SCRIPT_OPS / 4;
        Op op = random_op(s, may_enter);

        play(s, &op);
        if (op.kind == OP_PUT_SEIP && may_enter) {
            /* Before the file is evaluated again */
            play_enter(s, op.hart, op.cpu);
        }
        hardware |= s->model->files[0].hardware;
        if (n % STATE_EVERY == 0) {
            g_autoptr(Saved) now = saved_new(&s->model->shape);

            play_state(s);
            if (may_enter) {
                play_save(s, now);
            }
        }
    }
    play_save(s, saved);
    play_hidden_state(s);
    if (!g_test_failed()) {
        check_reached(s);
        g_assert(hardware == (mode != RISCV_AIA_MODEL_EMUL));
    }
    g_test_message("%u operations, %" PRIu64 " MSIs taken, %" PRIu64 " lost",
                   s->num_ops, s->model->msis_taken, s->model->msis_lost);
}

/*
 * Another virtual machine is to be the same.
 *
 * @fresh: it is reset first, so that only what differs is written
 */
static void play_load(const Shape *shape, uint32_t mode, const Saved *saved,
                      bool fresh)
{
    g_autoptr(Script) s = script_new(shape, mode, 0);
    g_autoptr(Saved) again = NULL;
    Error *err = NULL;

    play_start(s, mode);
    again = saved_new(&s->model->shape);
    if ((fresh && !reset(s->model, &err)) || !load_played(s, saved, &err)) {
        report(s, err);
        return;
    }
    if (play_save(s, again) && !saved_equal(saved, again)) {
        g_test_fail();
        g_test_message("saved and loaded, but not equal");
    }
    play_hidden_state(s);
}

typedef struct Case {
    const Shape *shape;
    uint32_t mode;
} Case;

static void test_scripts(const void *data)
{
    const Case *c = data;
    const RISCVAIAModelShape shape = {
        .num_sources = c->shape->num_sources,
        .num_ids = c->shape->num_ids,
        .num_harts = c->shape->num_harts,
    };
    uint32_t seed = from_environment("RISCV_AIA_TEST_SEED", g_test_rand_int());
    uint32_t scripts = from_environment("RISCV_AIA_TEST_SCRIPTS",
                                        g_test_slow() ? 10 : 1);

    if (c->shape->num_ids > host.max_ids) {
        g_test_skip("this host does not take so many identities");
        return;
    }
    if (c->mode != RISCV_AIA_MODEL_EMUL && host.no_guest_files) {
        g_test_skip("this host has no guest interrupt files");
        return;
    }
    for (uint32_t n = 0; n < scripts && !g_test_failed(); n++) {
        g_autoptr(Saved) saved = saved_new(&shape);

        play_script(c->shape, c->mode, seed + n, saved);
        if (!g_test_failed()) {
            play_load(c->shape, c->mode, saved, false);
            play_load(c->shape, c->mode, saved, true);
        }
    }
}

void add_script_tests(void)
{
    static Case cases[ARRAY_SIZE(modes) * NUM_SHAPES];

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Case *c = &cases[i];
        g_autofree char *path = NULL;

        c->mode = i / NUM_SHAPES;
        c->shape = &shapes[i % NUM_SHAPES];
        path = g_strdup_printf("/riscv-aia/kernel/%s/%s", modes[c->mode],
                               c->shape->name);
        g_test_add_data_func(path, c, test_scripts);
    }
}
