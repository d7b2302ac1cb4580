/*
 * The model of the in-kernel AIA against the kernel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Plays the same operations on the model and on the AIA device of a virtual
 * machine and compares every answer.  Needs /dev/kvm of a RISC-V host with AIA
 * that no other guest uses; no QEMU is involved.
 *
 * RISCV_AIA_TEST_SCRIPTS=N   how many random scripts for each shape and mode
 *                            (1, with -m slow 10)
 * RISCV_AIA_TEST_SEED=N      of the first of them, in place of one that follows
 *                            from --seed; the next script has the next number
 *
 * With --verbose each operation is printed, otherwise those before a
 * difference.
 */

#include "qemu/osdep.h"
#include <sys/wait.h>
#include "qapi/error.h"
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "environment.h"
#include "vm.h"

#define SCRIPT_OPS     10000
#define STATE_EVERY    1000

/* Where in guest physical memory */
#define APLIC_ADDR     0xd000000
#define IMSIC_ADDR     0x28000000

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

static const Shape shapes[] = {
    { "1-63", 1, 63, 1, 0, 24, 0, 0 },
    { "31-63", 31, 63, 2, 0, 24, 1, 0 },
    { "32-63", 32, 63, 3, 0, 24, 2, 1 },
    { "96-255", 96, 255, 4, 0, 24, 2, 0 },
    /* Two sockets of two harts, with room for more; four of one */
    { "96-255-sockets", 96, 255, 4, 1, 24, 3, 3 },
    { "255-255-sockets", 255, 255, 4, 2, 33, 0, 0 },
    { "1023-2047", 1023, 2047, 2, 0, 24, 1, 0 },
    /* kernel-irqchip=split */
    { "0-127", 0, 127, 2, 0, 24, 1, 0 },
};

static const char *const modes[] = { "emul", "hwaccel", "auto" };

/* What probes have found out about the host */
static bool narrow;
static bool no_guest_files;
static uint32_t max_ids;
static uint32_t guest_files[RISCV_AIA_MODEL_MAX_CPUS];

static int set_config(VM *vm, uint64_t attr, uint64_t val)
{
    return vm_set_attr(vm, RISCV_AIA_MODEL_CONFIG, attr, val);
}

/* One hart, configured and initialized, to try something on */
static VM *new_simple_vm(uint32_t mode)
{
    VM *vm = vm_new(1);

    g_assert_cmpint(set_config(vm, RISCV_AIA_MODEL_MODE, mode), ==, 0);
    g_assert_cmpint(set_config(vm, RISCV_AIA_MODEL_IDS, 63), ==, 0);
    g_assert_cmpint(vm_set_attr(vm, RISCV_AIA_MODEL_ADDR, 1, IMSIC_ADDR), ==,
                    0);
    g_assert_cmpint(vm_set_attr(vm, RISCV_AIA_MODEL_CTRL, 0, 0), ==, 0);
    return vm;
}

/*
 * Somebody who owns hardware files of a CPU.  Adds up to @max; returns how many
 * there were to be had.
 */
static uint32_t take_files(GPtrArray *owners, uint32_t cpu, uint32_t max)
{
    uint64_t told;

    for (uint32_t n = 0; n < max; n++) {
        VM *vm = new_simple_vm(RISCV_AIA_MODEL_HWACCEL);

        if (vm_enter(vm, 0, cpu, &told) < 0) {
            vm_free(vm);
            return n;
        }
        g_ptr_array_add(owners, vm);
    }
    return max;
}

static void probe(void)
{
    VM *vm = new_simple_vm(RISCV_AIA_MODEL_EMUL);
    uint64_t val = BIT_ULL(32);

    vm_set_attr(vm, RISCV_AIA_MODEL_IMSIC, AIA_IMSIC_EIE(0), val);
    vm_get_attr(vm, RISCV_AIA_MODEL_IMSIC, AIA_IMSIC_EIE(0), &val);
    narrow = val != BIT_ULL(32);
    vm_free(vm);

    vm = vm_new(1);
    for (max_ids = AIA_IMSIC_MAX_IDS; max_ids > 63; max_ids -= 64) {
        if (set_config(vm, RISCV_AIA_MODEL_IDS, max_ids) == 0) {
            break;
        }
    }
    no_guest_files = set_config(vm, RISCV_AIA_MODEL_MODE,
                                RISCV_AIA_MODEL_AUTO) < 0;
    vm_free(vm);

    for (uint32_t cpu = 0; !no_guest_files && cpu < RISCV_AIA_MODEL_MAX_CPUS;
         cpu++) {
        g_autoptr(GPtrArray) owners =
            g_ptr_array_new_with_free_func((GDestroyNotify)vm_free);

        guest_files[cpu] = take_files(owners, cpu, UINT32_MAX);
    }
    printf("# software files are %d bits wide; at most %u identities; %u and "
           "%u guest files\n", narrow ? 32 : 64, max_ids, guest_files[0],
           guest_files[1]);
}

/*
 * The two sides, and operations on both
 */

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

static void ask_kernel(Script *s, const Op *op, Answer *a)
{
    VM *vm = s->vm;

    switch (op->kind) {
    case OP_GET:
        a->val = op->val;
        a->ret = vm_get_attr(vm, op->group, op->where, &a->val);
        break;
    case OP_SET:
        a->ret = vm_set_attr(vm, op->group, op->where, op->val);
        break;
    case OP_HAS:
        a->ret = vm_has_attr(vm, op->group, op->where);
        break;
    case OP_LINE:
        a->ret = vm_irq_line(vm, op->where, op->val);
        break;
    case OP_MSI:
        a->ret = vm_signal_msi(vm, op->where, op->val);
        break;
    case OP_GET_SEIP:
        a->val = vm_get_seip(vm, op->hart);
        break;
    case OP_PUT_SEIP:
        vm_put_seip(vm, op->hart, op->val);
        break;
    case OP_ENTER:
        a->ret = vm_enter(vm, op->hart, op->cpu, &a->val);
        break;
    case OP_START:
        a->ret = vm_start_next(vm, op->hart, op->cpu, &a->val);
        break;
    case OP_TAKE_FILES:
        a->val = take_files(s->owners, op->cpu, op->val);
        break;
    case OP_FREE_FILES:
        g_ptr_array_set_size(s->owners, 0);
        break;
    default:
        g_assert_not_reached();
    }
}

/* What the guest of @hart tells of itself */
static uint64_t model_tells(RISCVAIAModel *m, uint32_t hart)
{
    uint64_t topei = riscv_aia_model_topei(m, hart);

    return topei << 48 | topei << 32 |
           (riscv_aia_model_seip(m, hart) ? SIP_SEIP : 0);
}

static int enter_model(RISCVAIAModel *m, uint32_t hart, uint32_t cpu,
                       uint64_t *told)
{
    int ret = riscv_aia_model_enter(m, hart, cpu, NULL);

    if (ret == 0) {
        *told = model_tells(m, hart);
    }
    return ret;
}

static void ask_model(Script *s, const Op *op, Answer *a)
{
    RISCVAIAModel *m = s->model;

    switch (op->kind) {
    case OP_GET:
        a->val = op->val;
        a->ret = riscv_aia_model_get_attr(m, op->group, op->where, &a->val);
        break;
    case OP_SET:
        a->ret = riscv_aia_model_set_attr(m, op->group, op->where, op->val);
        break;
    case OP_HAS:
        a->ret = riscv_aia_model_has_attr(m, op->group, op->where);
        break;
    case OP_LINE:
        a->ret = riscv_aia_model_set_input(m, op->where, op->val);
        break;
    case OP_MSI:
        a->ret = riscv_aia_model_signal_msi(m, op->where, op->val);
        break;
    case OP_GET_SEIP:
        a->val = m->files[op->hart].hvip;
        break;
    case OP_PUT_SEIP:
        riscv_aia_model_put_sip(m, op->hart, op->val);
        break;
    case OP_ENTER:
        a->ret = enter_model(m, op->hart, op->cpu, &a->val);
        break;
    case OP_START:
        a->ret = enter_model(m, op->hart, op->cpu, &a->val);
        if (a->ret == 0) {
            riscv_aia_model_start(m, vm_next(op->hart, m->shape.num_harts));
        }
        break;
    case OP_TAKE_FILES:
        a->val = MIN(m->free_files[op->cpu], op->val);
        m->free_files[op->cpu] -= a->val;
        break;
    case OP_FREE_FILES:
        m->free_files[op->cpu] += op->val;
        break;
    default:
        g_assert_not_reached();
    }
}

static void print_op(const Op *op, const Answer *kernel)
{
    static const char *const names[] = {
        "get", "set", "has", "line", "msi", "get seip", "put seip", "enter",
        "start next", "take files", "free files",
    };
    static const char *const groups[] = {
        "config", "addr", "ctrl", "aplic", "imsic",
    };
    g_autofree char *group = op->group < ARRAY_SIZE(groups) ?
        g_strdup(groups[op->group]) : g_strdup_printf("group %u", op->group);
    g_autofree char *what = NULL;

    if (op->kind <= OP_HAS) {
        what = g_strdup_printf("%s 0x%" PRIx64, group, op->where);
    } else if (op->kind <= OP_MSI) {
        what = g_strdup_printf("0x%" PRIx64, op->where);
    } else {
        what = g_strdup_printf("hart %u cpu %u", op->hart, op->cpu);
    }
    g_test_message("%s %s, 0x%" PRIx64 ": %s, 0x%" PRIx64, names[op->kind],
                   what, op->val, strerror(-kernel->ret), kernel->val);
}

static Reached find_register(const Op *op)
{
    static const struct { Reached reg; uint32_t group, first, last; } map[] = {
        { DOMAINCFG,   RISCV_AIA_MODEL_APLIC, 0x0000, 0x0000 },
        { SOURCECFG,   RISCV_AIA_MODEL_APLIC, 0x0004, 0x0ffc },
        { SETIP,       RISCV_AIA_MODEL_APLIC, 0x1c00, 0x1c7c },
        { SETIPNUM,    RISCV_AIA_MODEL_APLIC, 0x1cdc, 0x1cdc },
        { IN_CLRIP,    RISCV_AIA_MODEL_APLIC, 0x1d00, 0x1d7c },
        { CLRIPNUM,    RISCV_AIA_MODEL_APLIC, 0x1ddc, 0x1ddc },
        { SETIE,       RISCV_AIA_MODEL_APLIC, 0x1e00, 0x1e7c },
        { SETIENUM,    RISCV_AIA_MODEL_APLIC, 0x1edc, 0x1edc },
        { CLRIE,       RISCV_AIA_MODEL_APLIC, 0x1f00, 0x1f7c },
        { CLRIENUM,    RISCV_AIA_MODEL_APLIC, 0x1fdc, 0x1fdc },
        { SETIPNUM_LE, RISCV_AIA_MODEL_APLIC, 0x2000, 0x2000 },
        { SETIPNUM_BE, RISCV_AIA_MODEL_APLIC, 0x2004, 0x2004 },
        { GENMSI,      RISCV_AIA_MODEL_APLIC, 0x3000, 0x3000 },
        { TARGET,      RISCV_AIA_MODEL_APLIC, 0x3004, 0x3ffc },
        { EIDELIVERY,  RISCV_AIA_MODEL_IMSIC, 0x70, 0x70 },
        { EITHRESHOLD, RISCV_AIA_MODEL_IMSIC, 0x72, 0x72 },
        { EIP,         RISCV_AIA_MODEL_IMSIC, 0x80, 0xbf },
        { EIE,         RISCV_AIA_MODEL_IMSIC, 0xc0, 0xff },
    };
    uint64_t where = op->group == RISCV_AIA_MODEL_IMSIC ? op->where & 0xfff
                                                        : op->where;

    for (size_t i = 0; i < ARRAY_SIZE(map); i++) {
        if (op->group == map[i].group && where >= map[i].first &&
            where <= map[i].last) {
            return map[i].reg;
        }
    }
    return NO_REGISTER;
}

/*
 * Has both do it and returns the kernel's answer; after the first difference
 * nothing more is done.
 */
static Answer play(Script *s, const Op *op)
{
    Answer kernel = { .ret = -EIO }, model = { };
    uint32_t last;

    if (s->differs) {
        return kernel;
    }
    kernel.ret = 0;
    ask_kernel(s, op, &kernel);
    ask_model(s, op, &model);
    if (g_test_verbose()) {
        print_op(op, &kernel);
    }
    if (op->kind <= OP_HAS && kernel.ret == 0) {
        s->reached[find_register(op)][op->kind]++;
    }
    s->kinds[op->kind] += kernel.ret == 0;
    if (kernel.ret >= -EOPNOTSUPP) {
        s->errnos[-kernel.ret]++;
    }
    last = s->num_ops++ % ARRAY_SIZE(s->last);
    s->last[last].op = *op;
    s->last[last].kernel = kernel;
    if (kernel.ret == model.ret && kernel.val == model.val) {
        return kernel;
    }

    s->differs = true;
    g_test_fail();
    g_test_message("the kernel's answers to the last of %u operations:",
                   s->num_ops);
    for (uint32_t i = MIN(s->num_ops, ARRAY_SIZE(s->last)); i; i--) {
        last = (s->num_ops - i) % ARRAY_SIZE(s->last);
        print_op(&s->last[last].op, &s->last[last].kernel);
    }
    g_test_message("but the model says %s, 0x%" PRIx64, strerror(-model.ret),
                   model.val);
    return kernel;
}

static Answer play_get(Script *s, uint32_t group, uint64_t attr)
{
    return play(s, &(Op) { .kind = OP_GET, .group = group, .where = attr });
}

static Answer play_set(Script *s, uint32_t group, uint64_t attr, uint64_t val)
{
    return play(s, &(Op) {
        .kind = OP_SET, .group = group, .where = attr, .val = val
    });
}

static Answer play_enter(Script *s, uint32_t hart, uint32_t cpu)
{
    return play(s, &(Op) { .kind = OP_ENTER, .hart = hart, .cpu = cpu });
}

/* Everything that tells what the AIA holds */
static void play_state(Script *s)
{
    uint32_t sources = s->shape->num_sources;

    for (uint32_t i = 0; sources && i <= sources; i++) {
        /* domaincfg, sourcecfg; genmsi, target */
        play_get(s, RISCV_AIA_MODEL_APLIC, AIA_APLIC_SOURCECFG(i));
        play_get(s, RISCV_AIA_MODEL_APLIC, AIA_APLIC_TARGET(i));
    }
    for (uint32_t w = 0; sources && w <= sources / 32; w++) {
        play_get(s, RISCV_AIA_MODEL_APLIC, AIA_APLIC_SETIP(w));
        play_get(s, RISCV_AIA_MODEL_APLIC, AIA_APLIC_SETIE(w));
        play_get(s, RISCV_AIA_MODEL_APLIC, AIA_APLIC_IN_CLRIP(w));
    }
    for (uint32_t hart = 0; hart < s->shape->num_harts; hart++) {
        play(s, &(Op) { .kind = OP_GET_SEIP, .hart = hart });
        play_get(s, RISCV_AIA_MODEL_IMSIC, hart << 12 | AIA_IMSIC_EIDELIVERY);
        play_get(s, RISCV_AIA_MODEL_IMSIC, hart << 12 | AIA_IMSIC_EITHRESHOLD);
        for (uint32_t w = 0; w <= s->shape->num_ids / 32; w += 2) {
            play_get(s, RISCV_AIA_MODEL_IMSIC, hart << 12 | AIA_IMSIC_EIP(w));
            play_get(s, RISCV_AIA_MODEL_IMSIC, hart << 12 | AIA_IMSIC_EIE(w));
        }
    }
}

static void play_enter_all(Script *s, uint32_t cpu)
{
    for (uint32_t hart = 0; hart < s->shape->num_harts; hart++) {
        play_enter(s, hart, cpu);
    }
    play_state(s);
}

static void play_take_files(Script *s, uint32_t max)
{
    play(s, &(Op) { .kind = OP_TAKE_FILES, .cpu = 1, .val = max });
}

static void play_free_files(Script *s)
{
    play(s, &(Op) { .kind = OP_FREE_FILES, .cpu = 1, .val = s->owners->len });
}

/*
 * The rest of the state, by operations that show it: wires of inactive sources,
 * upper halves where a hart can have a hardware file, and what becomes of them
 * when it has to do without.
 */
static void play_hidden_state(Script *s)
{
    if (s->shape->num_sources) {
        play_set(s, RISCV_AIA_MODEL_APLIC, AIA_APLIC_DOMAINCFG, 0);
    }
    for (uint32_t i = 1; i <= s->shape->num_sources; i++) {
        play_set(s, RISCV_AIA_MODEL_APLIC, AIA_APLIC_SOURCECFG(i),
                 AIA_SM_DETACHED);
    }
    play_enter_all(s, 0);
    if (s->model->shape.mode != RISCV_AIA_MODEL_EMUL) {
        play_take_files(s, UINT32_MAX);
    }
    play_enter_all(s, 1);
    play_enter_all(s, 0);
    play_free_files(s);
    play_enter_all(s, 1);
    if (s->shape->num_harts > 1) {
        play(s, &(Op) { .kind = OP_START });
        play_state(s);
        play_enter_all(s, 0);
    }
}

/* One of each beyond those there are */
static void play_get_config(Script *s)
{
    for (uint32_t attr = 0; attr <= RISCV_AIA_MODEL_NUM_CONFIG; attr++) {
        play_get(s, RISCV_AIA_MODEL_CONFIG, attr);
    }
    for (uint32_t attr = 0; attr <= s->shape->num_harts + 1; attr++) {
        play_get(s, RISCV_AIA_MODEL_ADDR, attr);
    }
}

static uint64_t imsic_addr(const Shape *shape, uint32_t hart)
{
    uint32_t per_group = shape->num_harts >> shape->group_bits;

    return IMSIC_ADDR +
           ((uint64_t)(hart / per_group) << shape->group_shift) +
           ((uint64_t)(hart % per_group) << (12 + shape->guest_bits));
}

static void play_numbers(Script *s, uint32_t mode)
{
    const Shape *shape = s->shape;
    const uint32_t config[] = {
        mode, shape->num_ids, shape->num_sources, shape->group_bits,
        shape->group_shift, shape->hart_bits, shape->guest_bits,
    };

    for (uint32_t i = 0; i < ARRAY_SIZE(config); i++) {
        play_set(s, RISCV_AIA_MODEL_CONFIG, i, config[i]);
    }
}

static void play_address(Script *s, uint32_t attr)
{
    play_set(s, RISCV_AIA_MODEL_ADDR, attr,
             attr ? imsic_addr(s->shape, attr - 1) : APLIC_ADDR);
}

static void play_config(Script *s, uint32_t mode)
{
    play_numbers(s, mode);
    for (uint32_t attr = 0; attr <= s->shape->num_harts; attr++) {
        play_address(s, attr);
    }
}

static void play_init(Script *s)
{
    play_set(s, RISCV_AIA_MODEL_CTRL, 0, 0);
}

static Script *script_new(const Shape *shape, uint32_t mode, uint32_t seed)
{
    const uint32_t seeds[] = { seed, mode, shape - shapes };
    RISCVAIAModelShape model_shape = {
        .num_harts = shape->num_harts,
        .narrow = narrow,
        .no_guest_files = no_guest_files,
        .max_ids = max_ids,
    };
    Script *s = g_new0(Script, 1);

    s->rng = g_rand_new_with_seed_array(seeds, ARRAY_SIZE(seeds));
    s->shape = shape;
    s->model = riscv_aia_model_create(&model_shape);
    memcpy(s->model->free_files, guest_files, sizeof(guest_files));
    s->vm = vm_new(shape->num_harts);
    s->owners = g_ptr_array_new_with_free_func((GDestroyNotify)vm_free);
    return s;
}

static void script_free(Script *s)
{
    g_ptr_array_free(s->owners, true);
    vm_free(s->vm);
    riscv_aia_model_free(s->model);
    g_rand_free(s->rng);
    g_free(s);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Script, script_free)

/*
 * Save and load by the code under test, each access of it played on both sides
 */

static int play_get_aplic(void *opaque, uint32_t offset, uint32_t *val)
{
    Answer a = play_get(opaque, RISCV_AIA_MODEL_APLIC, offset);

    *val = a.val;
    return a.ret;
}

static int play_set_aplic(void *opaque, uint32_t offset, uint32_t val)
{
    return play_set(opaque, RISCV_AIA_MODEL_APLIC, offset, val).ret;
}

static int play_set_input(void *opaque, uint32_t source, bool level)
{
    return play(opaque, &(Op) {
        .kind = OP_LINE, .where = source, .val = level
    }).ret;
}

static int play_get_imsic(void *opaque, uint32_t hart, uint32_t iselect,
                          uint64_t *val)
{
    Answer a = play_get(opaque, RISCV_AIA_MODEL_IMSIC, hart << 12 | iselect);

    *val = a.val;
    return a.ret;
}

static int play_set_imsic(void *opaque, uint32_t hart, uint32_t iselect,
                          uint64_t val)
{
    return play_set(opaque, RISCV_AIA_MODEL_IMSIC, hart << 12 | iselect,
                    val).ret;
}

static int play_send_msi(void *opaque, uint32_t hart, uint32_t id)
{
    Script *s = opaque;

    return play(s, &(Op) {
        .kind = OP_MSI, .where = s->model->files[hart].addr, .val = id
    }).ret;
}

static int play_widen(void *opaque, uint32_t hart, Error **errp)
{
    Script *s = opaque;
    int ret;

    if (s->model->shape.mode == RISCV_AIA_MODEL_EMUL) {
        return -EOPNOTSUPP;
    }
    ret = play_enter(s, hart, 0).ret;
    if (ret == 0 && !s->model->files[hart].hardware) {
        ret = -EBUSY;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "hart %u has no hardware file", hart);
    }
    return ret;
}

static RISCVAIAAccess script_access(Script *s)
{
    return (RISCVAIAAccess) {
        play_get_aplic, play_set_aplic, play_set_input, play_get_imsic,
        play_set_imsic, play_send_msi, play_widen, s,
    };
}

/* @wires: of the sources; those that are inactive cannot be read back */
typedef struct Saved {
    RISCVAPLICRegs aplic;
    uint32_t wires[DIV_ROUND_UP(AIA_APLIC_MAX_SOURCES + 1, 32)];
    RISCVIMSICRegs imsic[RISCV_AIA_MODEL_MAX_HARTS];
} Saved;

/* What is saved has to be taken where it goes. */
static bool save(Script *s, Saved *saved, Error **errp)
{
    const RISCVAIAModel *m = s->model;
    RISCVAIAAccess access = script_access(s);

    for (uint32_t source = 1; source <= m->shape.num_sources; source++) {
        saved->wires[source / 32] |= (uint32_t)m->sources[source].input
                                     << (source % 32);
    }
    if (m->shape.num_sources) {
        riscv_aplic_regs_init(&saved->aplic, m->shape.num_sources);
        if (!riscv_aplic_regs_save(&access, &saved->aplic, saved->wires,
                                   errp) ||
            !riscv_aplic_regs_check(&saved->aplic, errp)) {
            return false;
        }
    }
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        RISCVIMSICRegs *regs = &saved->imsic[hart];

        riscv_imsic_regs_init(regs, m->shape.num_ids);
        if (!riscv_imsic_regs_save(&access, hart, regs, errp) ||
            !riscv_imsic_regs_check(regs, hart, errp)) {
            return false;
        }
    }
    return true;
}

/* In the order of target/riscv/kvm/aia.c */
static bool load(Script *s, const Saved *saved, Error **errp)
{
    const RISCVAIAModel *m = s->model;
    RISCVAIAAccess access = script_access(s);

    if (m->shape.num_sources &&
        !riscv_aplic_regs_load(&access, &saved->aplic, errp)) {
        return false;
    }
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        if (!riscv_imsic_regs_load(&access, hart, &saved->imsic[hart],
                                   saved->aplic.genmsi & 32, errp)) {
            return false;
        }
    }
    for (uint32_t hart = 0; hart < m->shape.num_harts; hart++) {
        play(s, &(Op) { .kind = OP_PUT_SEIP, .hart = hart });
        if (!riscv_imsic_regs_evaluate(&access, hart, errp)) {
            return false;
        }
    }
    return !m->shape.num_sources ||
           riscv_aplic_regs_enable(&access, &saved->aplic, errp);
}

static void saved_free(Saved *saved)
{
    riscv_aplic_regs_free(&saved->aplic);
    for (uint32_t hart = 0; hart < RISCV_AIA_MODEL_MAX_HARTS; hart++) {
        riscv_imsic_regs_free(&saved->imsic[hart]);
    }
    g_free(saved);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Saved, saved_free)

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
    for (uint32_t hart = 0; hart < RISCV_AIA_MODEL_MAX_HARTS; hart++) {
        const RISCVIMSICRegs *f = &a->imsic[hart], *g = &b->imsic[hart];

        if (f->eidelivery != g->eidelivery ||
            f->eithreshold != g->eithreshold ||
            !SAME(f, g, eip, f->num_words) || !SAME(f, g, eie, f->num_words)) {
            return false;
        }
    }
    return true;
}

/*
 * Random operations
 */

static uint32_t below(Script *s, uint32_t n)
{
    return g_rand_int(s->rng) % n;
}

static uint64_t random64(Script *s)
{
    return (uint64_t)g_rand_int(s->rng) << 32 | g_rand_int(s->rng);
}

/* Few bits, many, none, or all the same */
static uint64_t random_bits(Script *s)
{
    uint64_t val = random64(s);

    switch (below(s, 8)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return val | random64(s) | random64(s);
    case 3:
        return val;
    case 4:
        return BIT_ULL(below(s, 64));
    default:
        return val & random64(s) & random64(s);
    }
}

/* Mostly at most @max, or close by, or that with a bit above it */
static uint32_t random_number(Script *s, uint32_t max)
{
    uint32_t val = below(s, max + 2);

    switch (below(s, 16)) {
    case 0:
        return random_bits(s);
    case 1:
        return val | BIT(below(s, 32));
    default:
        return val;
    }
}

static uint32_t random_source(Script *s)
{
    return random_number(s, s->shape->num_sources);
}

static uint32_t random_identity(Script *s)
{
    return random_number(s, s->shape->num_ids);
}

static uint32_t random_hart(Script *s)
{
    return below(s, s->shape->num_harts);
}

/* target and genmsi: mostly one whose hart there is */
static uint32_t random_target(Script *s)
{
    uint32_t hart = random_hart(s);
    uint32_t target = (s->model->files[hart].hart_index << 18) |
                      (random_identity(s) & AIA_APLIC_EIID_MASK);

    switch (below(s, 12)) {
    case 0:
        return random_bits(s);
    case 1:
        return target + (below(s, 4) << 18);
    case 2:
        return target | below(s, 64) << 12;
    case 3:
        return target | BIT(11);
    default:
        return target;
    }
}

static uint32_t random_word(Script *s)
{
    return below(s, 16) ? below(s, s->shape->num_sources / 32 + 1)
                        : below(s, 33);
}

/* An APLIC register and what is to be written there; any of them as likely */
static void random_aplic(Script *s, Op *op)
{
    op->val = random_bits(s);
    switch (below(s, NUM_APLIC + 3)) {
    case DOMAINCFG:
        op->where = AIA_APLIC_DOMAINCFG;
        break;
    case SOURCECFG:
        op->where = AIA_APLIC_SOURCECFG(random_source(s));
        if (below(s, 8)) {
            /* D now and then */
            op->val = below(s, 8) | (below(s, 8) ? 0 : BIT(10));
        }
        break;
    case SETIP:
        op->where = AIA_APLIC_SETIP(random_word(s));
        break;
    case SETIPNUM:
        op->where = 0x1cdc;
        op->val = random_source(s);
        break;
    case IN_CLRIP:
        op->where = AIA_APLIC_IN_CLRIP(random_word(s));
        break;
    case CLRIPNUM:
        op->where = 0x1ddc;
        op->val = random_source(s);
        break;
    case SETIE:
        op->where = AIA_APLIC_SETIE(random_word(s));
        break;
    case SETIENUM:
        op->where = 0x1edc;
        op->val = random_source(s);
        break;
    case CLRIE:
        op->where = AIA_APLIC_CLRIE(random_word(s));
        break;
    case CLRIENUM:
        op->where = 0x1fdc;
        op->val = random_source(s);
        break;
    case SETIPNUM_LE:
        op->where = 0x2000;
        op->val = random_source(s);
        break;
    case SETIPNUM_BE:
        op->where = 0x2004;
        op->val = bswap32(random_source(s));
        break;
    case GENMSI:
        op->where = AIA_APLIC_GENMSI;
        op->val = random_target(s);
        break;
    case TARGET:
        op->where = AIA_APLIC_TARGET(random_source(s));
        op->val = random_target(s);
        break;
    case NUM_APLIC:
        op->where = below(s, 0x5000) & ~3;
        break;
    case NUM_APLIC + 1:
        op->where = below(s, 0x4000);
        break;
    default:
        op->where = random_bits(s);
        break;
    }
}

static void random_imsic(Script *s, Op *op)
{
    uint64_t hart = random_hart(s);
    uint32_t iselect;

    op->val = random_bits(s);
    switch (below(s, 8)) {
    case 0:
        iselect = AIA_IMSIC_EIDELIVERY;
        op->val = below(s, 4) ? 1 : op->val;
        break;
    case 1:
        iselect = AIA_IMSIC_EITHRESHOLD;
        op->val = below(s, 3) ? random_identity(s) : below(s, 2) * op->val;
        break;
    case 2:
        /* Among them odd ones, ones beyond, and reserved ones */
        iselect = below(s, 8) ? below(s, 0x110) : below(s, 0x1000);
        break;
    default:
        iselect = below(s, 2) ? AIA_IMSIC_EIP(0) : AIA_IMSIC_EIE(0);
        iselect += below(s, s->shape->num_ids / 32 + 1) & ~1;
        break;
    }
    switch (below(s, 32)) {
    case 0:
        hart = below(s, 16);
        break;
    case 1:
        hart = random64(s);
        break;
    case 2:
        hart |= BIT_ULL(below(s, 52));
        break;
    }
    op->where = hart << 12 | iselect;
}

static void random_attr(Script *s, Op *op)
{
    op->kind = below(s, 3) ? OP_SET : below(s, 4) ? OP_GET : OP_HAS;
    switch (below(s, 32)) {
    case 0:
        op->group = RISCV_AIA_MODEL_CONFIG;
        op->where = below(s, 8) ? below(s, 8) : random_bits(s);
        break;
    case 1:
        op->group = RISCV_AIA_MODEL_ADDR;
        op->where = below(s, 8) ? below(s, 7) : random_bits(s);
        break;
    case 2:
        op->group = below(s, 4) ? 5 + below(s, 8) : RISCV_AIA_MODEL_CTRL;
        /* Never to initialize it before its time */
        op->where = s->model->initialized ? below(s, 8) : 1 + below(s, 8);
        break;
    case 3 ... 11:
        op->group = RISCV_AIA_MODEL_IMSIC;
        random_imsic(s, op);
        return;
    default:
        op->group = RISCV_AIA_MODEL_APLIC;
        random_aplic(s, op);
        return;
    }
    op->val = random_bits(s);
}

/* To a page of a hart or of its guests, mostly where it takes an MSI */
static void random_msi(Script *s, Op *op)
{
    uint32_t id = random_identity(s);

    op->kind = OP_MSI;
    op->where = s->model->files[random_hart(s)].addr;
    op->val = id;
    switch (below(s, 16)) {
    case 0:
        op->where = random_bits(s);
        break;
    case 1:
        op->where += below(s, 0x1000);
        break;
    case 2:
        op->where += below(s, 16) << 12;
        break;
    case 3:
    case 4:
        op->where += 4;
        op->val = bswap32(id);
        break;
    }
}

static Op random_op(Script *s, bool may_enter)
{
    Op op = { .hart = random_hart(s), .cpu = below(s, 4) == 0 };
    RISCVAIAModel *m = s->model;

    switch (below(s, 100)) {
    case 0 ... 69:
        random_attr(s, &op);
        break;
    case 70 ... 84:
        op.kind = OP_LINE;
        op.where = random_source(s);
        op.val = below(s, 2) * (below(s, 16) ? 1 : (uint32_t)random64(s));
        break;
    case 85 ... 94:
        random_msi(s, &op);
        break;
    case 95:
        op.kind = OP_PUT_SEIP;
        op.val = below(s, 2);
        break;
    case 96:
    case 97:
        op.kind = OP_GET_SEIP;
        break;
    default:
        op.kind = OP_GET_SEIP;
        if (!may_enter) {
            break;
        }
        switch (below(s, 16)) {
        case 0:
        case 1:
            if (s->shape->num_harts > 1 && !m->files[op.hart].starts) {
                op.kind = OP_START;
            }
            break;
        case 2:
            op.cpu = 1;
            if (m->shape.mode == RISCV_AIA_MODEL_EMUL) {
                break;
            }
            if (s->owners->len) {
                op.kind = OP_FREE_FILES;
                op.val = s->owners->len;
            } else if (m->free_files[1]) {
                /* All of them or a few less */
                op.kind = OP_TAKE_FILES;
                op.val = below(s, 2) ? UINT32_MAX : m->free_files[1] - 1;
            }
            break;
        default:
            op.kind = OP_ENTER;
            break;
        }
        break;
    }
    return op;
}

/*
 * Tests
 */

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

static void play_start(Script *s, uint32_t mode)
{
    play_config(s, mode);
    play_init(s);
    play_state(s);
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

static bool play_save(Script *s, Saved *saved)
{
    Error *err = NULL;

    if (s->differs || !save(s, saved, &err)) {
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
            g_autoptr(Saved) now = g_new0(Saved, 1);

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

/* Another virtual machine is to be the same. */
static void play_load(const Shape *shape, uint32_t mode, const Saved *saved)
{
    g_autoptr(Script) s = script_new(shape, mode, 0);
    g_autoptr(Saved) again = g_new0(Saved, 1);
    Error *err = NULL;

    play_start(s, mode);
    if (!load(s, saved, &err)) {
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
    uint32_t seed = from_environment("RISCV_AIA_TEST_SEED", g_test_rand_int());
    uint32_t scripts = from_environment("RISCV_AIA_TEST_SCRIPTS",
                                        g_test_slow() ? 10 : 1);

    if (c->shape->num_ids > max_ids) {
        g_test_skip("this host does not take so many identities");
        return;
    }
    if (c->mode != RISCV_AIA_MODEL_EMUL && no_guest_files) {
        g_test_skip("this host has no guest interrupt files");
        return;
    }
    for (uint32_t n = 0; n < scripts && !g_test_failed(); n++) {
        g_autoptr(Saved) saved = g_new0(Saved, 1);

        play_script(c->shape, c->mode, seed + n, saved);
        if (!g_test_failed()) {
            play_load(c->shape, c->mode, saved);
        }
    }
}

static const uint32_t config_vals[] = {
    0, 1, 2, 3, 7, 8, 15, 16, 23, 24, 31, 55, 56, 62, 63, 64, 127, 191, 255,
    256, 319, 1023, 1024, 2047, 2048, 2111, UINT32_MAX,
};

/* What each number can be, and without what it cannot be initialized */
static void test_limits(void)
{
    const Shape *shape = &shapes[4];
    g_autoptr(Script) s = script_new(shape, 0, 0);

    play_get_config(s);
    for (uint32_t attr = 0; attr <= RISCV_AIA_MODEL_NUM_CONFIG; attr++) {
        for (size_t i = 0; i < ARRAY_SIZE(config_vals); i++) {
            play_set(s, RISCV_AIA_MODEL_CONFIG, attr, config_vals[i]);
            play_get(s, RISCV_AIA_MODEL_CONFIG, attr);
        }
    }
    play_config(s, RISCV_AIA_MODEL_EMUL);
    for (uint32_t sources = 65; sources >= 63; sources--) {
        play_set(s, RISCV_AIA_MODEL_CONFIG, RISCV_AIA_MODEL_IDS, 63);
        play_set(s, RISCV_AIA_MODEL_CONFIG, RISCV_AIA_MODEL_SOURCES, sources);
        play_init(s);
    }
    play_init(s);

    for (uint32_t lacking = 0; lacking <= shape->num_harts; lacking++) {
        g_autoptr(Script) t = script_new(shape, 0, 0);

        play_numbers(t, RISCV_AIA_MODEL_EMUL);
        for (uint32_t attr = 0; attr <= shape->num_harts; attr++) {
            if (attr != lacking) {
                play_address(t, attr);
            }
        }
        play_init(t);
        play_address(t, lacking);
        /* One that is not of the same AIA as the others' */
        play_set(t, RISCV_AIA_MODEL_ADDR, shape->num_harts,
                 imsic_addr(shape, shape->num_harts - 1) ^ BIT_ULL(40));
        play_init(t);
        play_start(t, RISCV_AIA_MODEL_EMUL);
    }
}

/* Configurations that are wrong somewhere or not, and what comes of them */
static void test_config(void)
{
    uint32_t seed = from_environment("RISCV_AIA_TEST_SEED", g_test_rand_int());
    uint32_t configs = g_test_slow() ? 2000 : 100;
    uint32_t initialized = 0;

    for (uint32_t n = 0; n < configs && !g_test_failed(); n++) {
        const Shape *shape = &shapes[n % ARRAY_SIZE(shapes)];
        g_autoptr(Script) s = script_new(shape, 0, seed + n);

        g_test_message("RISCV_AIA_TEST_SEED=%u", seed + n);
        play_config(s, below(s, 4));
        for (uint32_t i = below(s, 4); i; i--) {
            uint32_t val = config_vals[below(s, ARRAY_SIZE(config_vals))];

            play_set(s, RISCV_AIA_MODEL_CONFIG, below(s, 8),
                     below(s, 2) ? val : shape->group_bits + below(s, 3));
        }
        for (uint32_t i = below(s, 3); i; i--) {
            uint32_t attr = below(s, shape->num_harts + 2);
            uint64_t differ = BIT_ULL(below(s, 60));

            play_set(s, RISCV_AIA_MODEL_ADDR, attr,
                     imsic_addr(shape, attr) ^ differ);
        }
        play_get_config(s);
        play_init(s);
        initialized += s->model->initialized;
        for (int i = 0; i < 50; i++) {
            Op op = random_op(s, s->model->initialized);

            play(s, &op);
        }
        play_init(s);
    }
    g_test_message("%u of %u could be initialized", initialized, configs);
    if (!g_test_failed()) {
        g_assert_cmpuint(initialized, >, configs / 10);
        g_assert_cmpuint(initialized, <, configs * 9 / 10);
    }
}

/* Every offset and iselect, also of a hart that there is not */
static void test_offsets(void)
{
    const Shape *shape = &shapes[3];
    g_autoptr(Script) s = script_new(shape, 0, 0);

    play_config(s, RISCV_AIA_MODEL_EMUL);
    for (int initialized = 0; initialized <= 1; initialized++) {
        for (uint32_t offset = 0; offset < 0x4010; offset++) {
            /* Misaligned ones need no more than one way. */
            for (int kind = offset % 4 ? OP_HAS : OP_GET; kind <= OP_HAS;
                 kind++) {
                play(s, &(Op) {
                    .kind = kind, .group = RISCV_AIA_MODEL_APLIC,
                    .where = offset,
                });
            }
        }
        for (uint32_t where = 0; where < 0x1000; where++) {
            for (int kind = OP_GET; kind <= OP_HAS; kind++) {
                play(s, &(Op) {
                    .kind = kind, .group = RISCV_AIA_MODEL_IMSIC,
                    .where = where,
                });
            }
        }
        play_init(s);
    }
}

/*
 * CSRs that are put while the guest does not run, as by a load or a reset.
 * Linux 7.2 can run the vCPU with those of before, see docs/kernel-facts.md.
 */
static void test_put_csr(void)
{
    VM *vm = vm_new(1);
    uint64_t val;

    vm_set_sscratch(vm, 0, 1);
    g_assert_cmphex(vm_read_sscratch(vm, 0, 0), ==, 1);
    vm_set_sscratch(vm, 0, 2);
    vm_load_vcpu(vm, 0, 1);
    val = vm_read_sscratch(vm, 0, 0);
    vm_free(vm);
    if (val == 1) {
        g_test_incomplete("this kernel enters the guest with the CSRs of "
                          "before");
    } else {
        g_assert_cmphex(val, ==, 2);
    }
}

/* What helps: another vCPU that is loaded on each CPU after the CSR was put */
static void test_put_csr_loaded(void)
{
    VM *vm = vm_new(1), *other = vm_new(1);

    vm_set_sscratch(vm, 0, 1);
    g_assert_cmphex(vm_read_sscratch(vm, 0, 0), ==, 1);
    vm_set_sscratch(vm, 0, 2);
    vm_load_vcpu(other, 0, 0);
    vm_load_vcpu(other, 0, 1);
    vm_load_vcpu(vm, 0, 1);
    g_assert_cmphex(vm_read_sscratch(vm, 0, 0), ==, 2);
    vm_free(other);
    vm_free(vm);
}

/*
 * The guest reads a page that the host shares with others, and writes it while
 * dirty pages are logged, as during a migration.  Linux 7.2 can have it write
 * what is shared, see docs/kernel-facts.md; here that is a file, in most
 * guests the host's page of zeros.
 */
static void test_write_shared(void)
{
    const uint64_t addr = 0x100000;
    size_t size = qemu_real_host_page_size();
    int fd = memfd_create("shared", MFD_CLOEXEC);
    VM *vm = vm_new(1);
    uint64_t *memory, val;

    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    g_assert(memory != MAP_FAILED);
    vm_set_memory(vm, addr, memory, size, false);
    g_assert_cmphex(vm_read_memory(vm, 0, addr), ==, 0);
    vm_set_memory(vm, addr, memory, size, true);
    vm_write_memory(vm, 0, addr, 1);
    g_assert_cmphex(*memory, ==, 1);
    g_assert_cmpint(pread(fd, &val, sizeof(val), 0), ==, sizeof(val));
    if (val) {
        g_test_incomplete("this kernel writes to shared pages while dirty "
                          "pages are logged");
    }
    vm_free(vm);
    munmap(memory, size);
    close(fd);
}

#define DAMON "/sys/kernel/mm/damon/admin/kdamonds/"

static bool G_GNUC_PRINTF(2, 3) damon_set(const char *name, const char *fmt,
                                          ...)
{
    g_autofree char *path = g_strconcat(DAMON, name, NULL);
    g_autofree char *val = NULL;
    va_list ap;
    int fd = open(path, O_WRONLY);
    bool ok;

    va_start(ap, fmt);
    val = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    ok = fd >= 0 && write(fd, val, strlen(val)) == strlen(val);
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

/* Has the kernel look, every 5 ms, whether memory of a process was used. */
static bool damon_start(pid_t pid, const void *memory, size_t size)
{
    const unsigned long start = (uintptr_t)memory;

    return damon_set("nr_kdamonds", "1") &&
           damon_set("0/contexts/nr_contexts", "1") &&
           damon_set("0/contexts/0/operations", "fvaddr") &&
           damon_set("0/contexts/0/targets/nr_targets", "1") &&
           damon_set("0/contexts/0/targets/0/pid_target", "%d", pid) &&
           damon_set("0/contexts/0/targets/0/regions/nr_regions", "1") &&
           damon_set("0/contexts/0/targets/0/regions/0/start", "%lu", start) &&
           damon_set("0/contexts/0/targets/0/regions/0/end", "%lu",
                     start + size) &&
           damon_set("0/state", "on");
}

/* Writes a page of a guest that is logged, and counts how often. */
static void write_logged(uint64_t *memory, size_t size, unsigned *count)
{
    const uint64_t addr = 0x100000;
    VM *vm = vm_new(1);

    vm_set_memory(vm, addr, memory, size, true);
    for (;;) {
        vm_write_memory(vm, 0, addr, 1);
        qatomic_inc(count);
    }
}

/* Until there are @num of them in all */
static bool wait_for_writes(const unsigned *count, unsigned num)
{
    int64_t end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

    while (qatomic_read(count) < num) {
        if (g_get_monotonic_time() > end) {
            return false;
        }
        g_usleep(1000);
    }
    return true;
}

/*
 * Memory that is logged ages: the kernel takes away the A bit to see whether it
 * is used.  Where the hardware does not set it again by itself (Svade), a hart
 * of Linux 7.2 that then writes takes the same fault for ever, see
 * docs/kernel-facts.md.
 */
static void test_aged_memory(void)
{
    size_t size = qemu_real_host_page_size();
    unsigned *count = mmap(NULL, size, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t pid;

    g_assert(count != MAP_FAILED && memory != MAP_FAILED);
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        write_logged(memory, size, count);
    }
    g_assert_true(wait_for_writes(count, 10));
    if (!damon_start(pid, memory, size)) {
        g_test_skip("this kernel has no DAMON to age memory with");
    } else if (!wait_for_writes(count, qatomic_read(count) + 300)) {
        g_test_incomplete("this kernel hangs a hart that writes to memory "
                          "which has aged while it was logged");
    }
    damon_set("0/state", "off");
    damon_set("nr_kdamonds", "0");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    munmap(memory, size);
    munmap(count, size);
}

/*
 * The host puts other pages where the guest has some.  Linux 6.12 leaves those
 * to the guest that follow a part of 2 MiB where it has none, see
 * docs/kernel-facts.md; to whom they belong then does not matter here.
 */
static void test_unmap(void)
{
    const uint64_t addr = 4 << 20;
    size_t size = qemu_real_host_page_size();
    int fd = memfd_create("pages", MFD_CLOEXEC);
    VM *vm = vm_new(1);
    uint8_t *memory;
    uint64_t val;

    g_assert_cmpint(ftruncate(fd, 4 * size), ==, 0);
    for (val = 0; val < 4; val++) {
        g_assert_cmpint(pwrite(fd, &val, sizeof(val), val * size), ==,
                        sizeof(val));
    }
    memory = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert(memory != MAP_FAILED);
    vm_set_memory(vm, addr - size, memory, 2 * size, false);
    g_assert_cmphex(vm_read_memory(vm, 0, addr), ==, 1);
    g_assert(mmap(memory, 2 * size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_FIXED, fd, 2 * size) == memory);
    val = vm_read_memory(vm, 0, addr);
    if (val == 1) {
        g_test_incomplete("this kernel leaves the guest pages that the host "
                          "has taken away");
    } else {
        g_assert_cmphex(val, ==, 3);
    }
    vm_free(vm);
    munmap(memory, 2 * size);
    close(fd);
}

#define HUGE_PAGE (2 << 20)

/* Writes a page of a huge one before, during and after a log, and counts. */
static void write_after_log(uint8_t *memory, unsigned *count)
{
    const uint64_t addr = HUGE_PAGE;
    size_t page = qemu_real_host_page_size();
    VM *vm = vm_new(1);

    for (int i = 1; i <= 3; i++) {
        vm_set_memory(vm, addr, memory, HUGE_PAGE, i == 2);
        vm_write_memory(vm, 0, addr + (i == 3 ? 2 : 1) * page, i);
        qatomic_inc(count);
    }
    for (;;) {
        pause();
    }
}

/*
 * A migration fails, and the guest goes on.  Linux 7.2 has a hart that then
 * writes to a part of a huge page take the same fault for ever, see
 * docs/kernel-facts.md.
 */
static void test_write_after_log(void)
{
    unsigned *count = mmap(NULL, qemu_real_host_page_size(),
                           PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint8_t *memory = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *huge = (uint8_t *)QEMU_ALIGN_UP((uintptr_t)memory, HUGE_PAGE);
    pid_t pid;

    g_assert(memory != MAP_FAILED && count != MAP_FAILED);
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        memset(huge, 0, HUGE_PAGE);
        g_assert_cmpint(madvise(huge, HUGE_PAGE, MADV_COLLAPSE), ==, 0);
        write_after_log(huge, count);
    }
    if (!wait_for_writes(count, 3)) {
        g_assert_cmpint(qatomic_read(count), ==, 2);
        g_test_incomplete("this kernel hangs a hart that writes to a huge page "
                          "after its parts were logged");
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    munmap(memory, 2 * HUGE_PAGE);
    munmap(count, qemu_real_host_page_size());
}

int main(int argc, char **argv)
{
    static Case cases[ARRAY_SIZE(modes) * ARRAY_SIZE(shapes)];

    g_test_init(&argc, &argv, NULL);
    vm_open_kvm();
    probe();
    g_test_add_func("/riscv-aia/kernel/put-csr", test_put_csr);
    g_test_add_func("/riscv-aia/kernel/put-csr-loaded", test_put_csr_loaded);
    g_test_add_func("/riscv-aia/kernel/write-shared", test_write_shared);
    g_test_add_func("/riscv-aia/kernel/aged-memory", test_aged_memory);
    g_test_add_func("/riscv-aia/kernel/unmap", test_unmap);
    g_test_add_func("/riscv-aia/kernel/write-after-log",
                    test_write_after_log);
    g_test_add_func("/riscv-aia/kernel/limits", test_limits);
    g_test_add_func("/riscv-aia/kernel/config", test_config);
    g_test_add_func("/riscv-aia/kernel/offsets", test_offsets);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Case *c = &cases[i];
        g_autofree char *path = NULL;

        c->mode = i / ARRAY_SIZE(shapes);
        c->shape = &shapes[i % ARRAY_SIZE(shapes)];
        path = g_strdup_printf("/riscv-aia/kernel/%s/%s", modes[c->mode],
                               c->shape->name);
        g_test_add_data_func(path, c, test_scripts);
    }
    return g_test_run();
}
