/*
 * The model of the AIA against the kernel: operations that are played on both
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "script.h"

/* Where in guest physical memory */
#define APLIC_ADDR     0xd000000
#define IMSIC_ADDR     0x28000000

const Shape shapes[NUM_SHAPES] = {
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

Host host;

static int set_config(VM *vm, uint64_t attr, uint64_t val)
{
    return vm_set_attr(vm, RISCV_AIA_MODEL_CONFIG, attr, val);
}

static int init(VM *vm)
{
    return vm_set_attr(vm, RISCV_AIA_MODEL_CTRL, 0, 0);
}

/* One hart, configured, to try something on */
static VM *new_configured_vm(uint32_t mode)
{
    VM *vm = vm_new(1);

    g_assert_cmpint(set_config(vm, RISCV_AIA_MODEL_MODE, mode), ==, 0);
    g_assert_cmpint(set_config(vm, RISCV_AIA_MODEL_IDS, 63), ==, 0);
    g_assert_cmpint(vm_set_attr(vm, RISCV_AIA_MODEL_ADDR, 1, IMSIC_ADDR), ==,
                    0);
    return vm;
}

/* The same, initialized */
static VM *new_simple_vm(uint32_t mode)
{
    VM *vm = new_configured_vm(mode);

    g_assert_cmpint(init(vm), ==, 0);
    return vm;
}

/* Whether the kernel minds a bit of the group that is one of the hart, too */
static bool wants_bits_apart(void)
{
    VM *vm = new_configured_vm(RISCV_AIA_MODEL_EMUL);
    bool apart;

    g_assert_cmpint(set_config(vm, RISCV_AIA_MODEL_GROUP_BITS, 1), ==, 0);
    g_assert_cmpint(set_config(vm, RISCV_AIA_MODEL_GROUP_SHIFT, 24), ==, 0);
    g_assert_cmpint(set_config(vm, RISCV_AIA_MODEL_HART_BITS, 13), ==, 0);
    apart = init(vm) < 0;
    vm_free(vm);
    return apart;
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

void probe_host(void)
{
    VM *vm = new_simple_vm(RISCV_AIA_MODEL_EMUL);
    uint64_t val = BIT_ULL(32);
    uint32_t ids;

    vm_set_attr(vm, RISCV_AIA_MODEL_IMSIC, AIA_IMSIC_EIE(0), val);
    vm_get_attr(vm, RISCV_AIA_MODEL_IMSIC, AIA_IMSIC_EIE(0), &val);
    host.narrow = val != BIT_ULL(32);
    vm_free(vm);
    host.apart = wants_bits_apart();

    vm = vm_new(1);
    for (ids = AIA_IMSIC_MAX_IDS; ids > 63; ids -= 64) {
        if (set_config(vm, RISCV_AIA_MODEL_IDS, ids) == 0) {
            break;
        }
    }
    host.max_ids = ids;
    host.no_guest_files = set_config(vm, RISCV_AIA_MODEL_MODE,
                                     RISCV_AIA_MODEL_AUTO) < 0;
    vm_free(vm);

    for (uint32_t cpu = 0;
         !host.no_guest_files && cpu < RISCV_AIA_MODEL_MAX_CPUS; cpu++) {
        g_autoptr(GPtrArray) owners =
            g_ptr_array_new_with_free_func((GDestroyNotify)vm_free);

        host.guest_files[cpu] = take_files(owners, cpu, UINT32_MAX);
    }
    printf("# software files are %d bits wide; group bits %s overlap; at most "
           "%u identities; %u and %u guest files\n", host.narrow ? 32 : 64,
           host.apart ? "may not" : "may", host.max_ids, host.guest_files[0],
           host.guest_files[1]);
}

/*
 * The two sides, and operations on both
 */

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

Answer play(Script *s, const Op *op)
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

Answer play_get(Script *s, uint32_t group, uint64_t attr)
{
    return play(s, &(Op) { .kind = OP_GET, .group = group, .where = attr });
}

Answer play_set(Script *s, uint32_t group, uint64_t attr, uint64_t val)
{
    return play(s, &(Op) {
        .kind = OP_SET, .group = group, .where = attr, .val = val
    });
}

Answer play_enter(Script *s, uint32_t hart, uint32_t cpu)
{
    return play(s, &(Op) { .kind = OP_ENTER, .hart = hart, .cpu = cpu });
}

void play_state(Script *s)
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

void play_hidden_state(Script *s)
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

void play_get_config(Script *s)
{
    for (uint32_t attr = 0; attr <= RISCV_AIA_MODEL_NUM_CONFIG; attr++) {
        play_get(s, RISCV_AIA_MODEL_CONFIG, attr);
    }
    for (uint32_t attr = 0; attr <= s->shape->num_harts + 1; attr++) {
        play_get(s, RISCV_AIA_MODEL_ADDR, attr);
    }
}

uint64_t imsic_addr(const Shape *shape, uint32_t hart)
{
    uint32_t per_group = shape->num_harts >> shape->group_bits;

    return IMSIC_ADDR +
           ((uint64_t)(hart / per_group) << shape->group_shift) +
           ((uint64_t)(hart % per_group) << (12 + shape->guest_bits));
}

void play_numbers(Script *s, uint32_t mode)
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

void play_address(Script *s, uint32_t attr)
{
    play_set(s, RISCV_AIA_MODEL_ADDR, attr,
             attr ? imsic_addr(s->shape, attr - 1) : APLIC_ADDR);
}

void play_config(Script *s, uint32_t mode)
{
    play_numbers(s, mode);
    for (uint32_t attr = 0; attr <= s->shape->num_harts; attr++) {
        play_address(s, attr);
    }
}

void play_init(Script *s)
{
    play_set(s, RISCV_AIA_MODEL_CTRL, 0, 0);
}

void play_start(Script *s, uint32_t mode)
{
    play_config(s, mode);
    play_init(s);
    play_state(s);
}

/*
 * Access for the code under test
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

Script *script_new(const Shape *shape, uint32_t mode, uint32_t seed)
{
    const uint32_t seeds[] = { seed, mode, shape - shapes };
    RISCVAIAModelShape model_shape = {
        .num_harts = shape->num_harts,
        .narrow = host.narrow,
        .apart = host.apart,
        .no_guest_files = host.no_guest_files,
        .max_ids = host.max_ids,
    };
    Script *s = g_new0(Script, 1);

    s->rng = g_rand_new_with_seed_array(seeds, ARRAY_SIZE(seeds));
    s->shape = shape;
    s->model = riscv_aia_model_create(&model_shape);
    memcpy(s->model->free_files, host.guest_files, sizeof(host.guest_files));
    /* Save and load by the code under test play each access on both sides. */
    s->model->access = (RISCVAIAAccess) {
        play_get_aplic, play_set_aplic, play_set_input, play_get_imsic,
        play_set_imsic, play_send_msi, play_widen, &s->model->fresh, s,
    };
    s->vm = vm_new(shape->num_harts);
    s->owners = g_ptr_array_new_with_free_func((GDestroyNotify)vm_free);
    return s;
}

void script_free(Script *s)
{
    g_ptr_array_free(s->owners, true);
    vm_free(s->vm);
    riscv_aia_model_free(s->model);
    g_rand_free(s->rng);
    g_free(s);
}
